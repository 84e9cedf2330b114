"""The text that keeps the credits of an affine function non-negative, put on and taken off."""

import ast
from typing import Literal, get_args

RepairMode = Literal["clip", "softplus"]

_POSITIVE = {"clip": "jax.nn.relu", "softplus": "jax.nn.softplus"}
_IMPORT = "import jax\n"
_WRAPPER = '''

def tfcaf(agent_qs, state):
    """Keep every credit non-negative: q_tot = f(0, state) + sum_i {positive}(w_i(state)) q_i.

    `{inner}` is affine in agent_qs, so its gradient at zero is its weights w(state).
    """
    origin = jnp.zeros_like(agent_qs)
    offset, weights = jax.value_and_grad({inner})(origin, state)
    return offset + jnp.sum({positive}(weights) * agent_qs)
'''


def repaired_source(source: str, mode: RepairMode) -> str:
    """Text of the repaired function: the original under another name, and a wrapper around it.

    Args:
        source: Emitted source that defines `tfcaf(agent_qs, state)`.
        mode: "clip" or "softplus".
    """
    names = _names(source)
    names |= {node.name for node in ast.walk(ast.parse(source)) if hasattr(node, "name")}
    inner = "unrepaired"
    while inner in names:
        inner += "_function"
    renamed = _renamed(source, "tfcaf", inner)
    if "jax" not in _names(source):  # emitted sources import what they use; the wrapper uses jax
        renamed = _IMPORT + renamed
    return renamed.rstrip() + "\n" + _WRAPPER.format(inner=inner, positive=_POSITIVE[mode])


def unrepaired_source(source: str) -> tuple[str, RepairMode] | None:
    """The original and the mode behind a repaired source; None for any other source."""
    for mode in get_args(RepairMode):
        defined = [n.name for n in ast.parse(source).body if isinstance(n, ast.FunctionDef)]
        for inner in defined[:-1]:
            wrapper = _WRAPPER.format(inner=inner, positive=_POSITIVE[mode])
            if not source.endswith(wrapper):
                continue
            original = _renamed(source.removesuffix(wrapper), inner, "tfcaf")
            if "jax" not in _names(original):
                original = original.removeprefix(_IMPORT)
            if repaired_source(original, mode) == source:
                return original, mode
    return None


def _names(source: str) -> set[str]:
    """The names that a source reads or binds, imports apart."""
    return {node.id for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Name)}


def _renamed(source: str, old: str, new: str) -> str:
    """Source with the top-level function `old` called `new`; nothing calls it (no recursion)."""
    lines = source.splitlines()
    for node in ast.parse(source).body:
        if isinstance(node, ast.FunctionDef) and node.name == old:
            line = node.lineno - 1
            lines[line] = lines[line].replace(f"def {old}", f"def {new}", 1)
    return "\n".join(lines) + "\n"
