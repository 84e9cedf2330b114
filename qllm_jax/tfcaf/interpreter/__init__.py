"""The abstract interpreter: walks a function with shapes for arrays and emits jnp as it goes.

`read_function` is what `translate` calls; the modules fill the tables of `state` on import.
"""

from qllm_jax.tfcaf import ops  # noqa: F401
from qllm_jax.tfcaf.interpreter import (  # noqa: F401
    calls,
    comprehensions,
    expressions,
    indexing,
    loops,
    names,
    statements,
    strings,
)
from qllm_jax.tfcaf.interpreter.program import Reading, read_function, wrapped_entry

__all__ = ["Reading", "read_function", "wrapped_entry"]
