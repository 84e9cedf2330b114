"""The operations of all dialects; importing this package fills the registry.

`registry` says how to add one. Imports its modules; imported by the interpreter.
"""

from qllm_jax.tfcaf.ops import (  # noqa: F401
    common,
    jax_at,
    jax_control,
    jax_lax,
    jax_lax_shapes,
    jax_loops,
    jax_nn,
    known_indices,
    np_constructors,
    np_elementwise,
    np_in_place,
    np_indexing,
    np_joining,
    np_linalg,
    np_rearranging,
    np_reductions,
    np_shapes,
    np_sorting,
    numbering,
    torch_activations,
    torch_casts,
    torch_constructors,
    torch_elementwise,
    torch_indexing,
    torch_joining,
    torch_linalg,
    torch_losses,
    torch_modules,
    torch_reductions,
    torch_shapes,
    torch_sorting,
    torch_windows,
)
