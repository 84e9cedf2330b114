"""Which library a source is written for, and whether its function takes a batch.

Decided from the syntax alone: imports, the modules that are used, methods and keywords, and for
the batch annotations and words. Imports nothing of ours but the contract. Called by `translate`.
"""

import ast
import re

from qllm_jax.tfcaf.contract import Dialect

_ROOTS: dict[str, Dialect] = {
    **dict.fromkeys(("torch", "F", "nn"), "torch"),
    **dict.fromkeys(("numpy", "np"), "numpy"),
    **dict.fromkeys(("jax", "jnp", "lax"), "jnp"),
}
_TORCH_WORDS = frozenset(
    [
        "dim",
        "keepdim",
        "unsqueeze",
        "view",
        "permute",
        "expand",
        "detach",
        "clone",
        "numel",
        "size",
        "long",
        "type_as",
        "masked_fill",
        "softmax",
        "gather",
        "scatter",
        "add_",
        "mul_",
        "fill_",
        "masked_fill_",
        "clamp",
        "amax",
        "amin",
        "unbind",
        "device",
    ]
)


def detect_dialect(tree: ast.Module) -> Dialect:
    """The library whose functions are used most; torch where none is."""
    aliases = dict(_ROOTS)
    imported: list[Dialect] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            module = node.module if isinstance(node, ast.ImportFrom) else None
            for item in node.names:
                root = (module or item.name).split(".")[0]
                if root in ("torch", "numpy", "jax"):
                    dialect = _ROOTS[root]
                    imported.append(dialect)
                    aliases[item.asname or (item.name if module else root)] = dialect
    counts: dict[Dialect, int] = {"torch": 0, "numpy": 0, "jnp": 0}
    words = 0
    has_at = False
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and node.id in aliases:
            counts[aliases[node.id]] += 1
        elif isinstance(node, ast.Attribute):
            words += node.attr in _TORCH_WORDS
            has_at |= node.attr == "at"
        elif isinstance(node, ast.keyword):
            words += node.arg in ("dim", "keepdim")
    for dialect in ("torch", "jnp", "numpy"):  # beside torch or jnp, NumPy serves for constants
        if counts[dialect]:  # type: ignore[index]
            return dialect  # type: ignore[return-value]
    if has_at or (imported and imported[0] == "jnp"):
        return "jnp"
    return "torch" if words or not imported else imported[0]


_BATCH_WORDS = re.compile(r"\b(batch|batch_size|bs|B)\b|\[B\b|\(B\b")


def prefers_batched(entry: ast.FunctionDef, dialect: Dialect) -> bool:
    """Which reading to take where the shapes allow both: torch takes batches, jnp does not."""
    if dialect != "numpy":
        return dialect == "torch"
    names = {n.id for n in ast.walk(entry) if isinstance(n, ast.Name)}
    doc = ast.get_docstring(entry) or ""
    return bool(_BATCH_WORDS.search(doc) or names & {"batch", "batch_size", "bs", "B"})
