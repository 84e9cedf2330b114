"""Compile emitted source: the only place where text becomes code. Imports nothing of ours.

The verifier's child loads this file by its path, so it must stand alone.
"""

import ast
import builtins
import functools
from collections.abc import Callable
from typing import Any

_IMPORTS = ("import jax", "import jax.numpy as jnp")
_BUILTINS = (
    "range", "len", "zip", "enumerate", "list", "tuple", "dict", "sum", "min", "max", "abs",
    "float", "int", "bool", "sorted", "reversed", "any", "all", "round", "pow", "slice",
    "__import__",  # JAX's compiled half imports modules through its caller's builtins
)  # fmt: skip


def compile_source(source: str) -> Callable[..., Any]:
    """The function `tfcaf` of a source that we emitted; it sees jax, jnp and a few builtins.

    Called under a JAX trace, module-level constants are traced too, so nothing is allocated.

    Raises:
        ImportError: it imports something else.
        NameError: it uses a name or attribute with two leading underscores.
        SyntaxError: it is not Python.
        ValueError: it defines no `tfcaf`.
    """
    import jax
    import jax.numpy as jnp

    tree = ast.parse(source)
    for node in ast.walk(tree):
        name = getattr(node, "id", getattr(node, "attr", ""))
        if name.startswith("__"):
            raise NameError(f"the source uses {name!r}, which it may not.")
        if not isinstance(node, ast.Import | ast.ImportFrom):
            continue
        if ast.unparse(node) not in _IMPORTS or node not in tree.body:
            raise ImportError(
                f"line {node.lineno} of the source is `{ast.unparse(node)}`; it may hold "
                f"`{_IMPORTS[0]}` and `{_IMPORTS[1]}` at its top and no other import."
            )
    tree.body = [node for node in tree.body if not isinstance(node, ast.Import)]
    allowed = {name: getattr(builtins, name) for name in _BUILTINS}
    namespace: dict[str, Any] = {"__builtins__": allowed, "jax": jax, "jnp": jnp}
    exec(compile(tree, "<tfcaf>", "exec"), namespace)
    if not callable(namespace.get("tfcaf")):
        raise ValueError("the source defines no function `tfcaf(agent_qs, state)`.")
    emitted = namespace["tfcaf"]

    @functools.wraps(emitted)
    def tfcaf(agent_qs: jax.Array, state: jax.Array) -> jax.Array:
        return emitted(jnp.asarray(agent_qs), jnp.asarray(state))  # NumPy arrays lack `.at`

    return tfcaf
