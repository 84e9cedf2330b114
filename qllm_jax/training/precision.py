"""The precision of matrix products: how it is asked for, and what devices make of it."""

from typing import Any

import jax

_JAX_NAMES = {"highest": "highest", "tf32": "tensorfloat32", "bf16": "bfloat16"}


def matmul_precision_scope(name: str) -> Any:
    """Trace matrix products at `highest`, `tf32` or `bf16` precision inside a `with`."""
    return jax.default_matmul_precision(_JAX_NAMES[name])


def precision_used(name: str, platform: str) -> str:
    """What is computed where `name` is asked for: a CPU's products are float32 at any of them."""
    return "float32" if platform == "cpu" or name == "highest" else name
