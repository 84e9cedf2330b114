"""Which library a source is written for, and whether its function takes a batch.

Decided from the syntax alone: imports, the modules that are used, methods and keywords, and for
the batch annotations and words. Imports `code` and the contract. Called by `translate`.
"""

import ast
import re

from qllm_jax.tfcaf.code import words
from qllm_jax.tfcaf.contract import Dialect

_ROOTS: dict[str, Dialect] = {
    **dict.fromkeys(("torch", "F", "nn"), "torch"),
    **dict.fromkeys(("numpy", "np", "scipy"), "numpy"),
    **dict.fromkeys(("jax", "jnp", "lax"), "jnp"),
}
_TORCH_WORDS = frozenset(
    words(
        "dim keepdim unsqueeze view permute expand detach clone numel size long type_as "
        "masked_fill softmax gather scatter add_ mul_ fill_ masked_fill_ clamp amax amin "
        "unbind device"
    )
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
                if root in ("torch", "numpy", "scipy", "jax"):
                    dialect = _ROOTS[root]
                    imported.append(dialect)
                    aliases[item.asname or (item.name if module else root)] = dialect
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            aliases.pop(node.id, None)  # `nn = d.min(-1)` is a nearest neighbour, not torch.nn
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
        if counts[dialect]:
            return dialect
    if has_at or (imported and imported[0] == "jnp"):
        return "jnp"
    return "torch" if words or not imported else imported[0]


_BATCHED_TEXT = re.compile(r"\b(batch|batched|batch_size|bs)\b|[\[(]\s*(B|batch\w*|bs|N_b)\s*,")
_UNBATCHED_TEXT = re.compile(
    r"\bunbatched\b|\bsingle (sample|state|transition)\b"
    r"|[\[(]\s*(N|n_agents|num_agents|D|d|state_dim|n)\s*,?\s*[\])]"
)
_BATCH_LOOPS = frozenset(("b", "bi", "b_idx", "batch_idx", "batch_index", "sample"))
_BATCH_NAMES = frozenset(("batch", "batch_size", "bs", "B", "b_size", "bsz", "n_batch"))


def prefers_batched(entry: ast.FunctionDef, dialect: Dialect) -> bool:
    """Which reading to take where the shapes allow both: torch takes batches, jnp does not."""
    return dialect == "torch" or (dialect == "numpy" and says_batched(entry))


def says_batched(entry: ast.FunctionDef) -> bool:
    """Whether the text names a batch: in its words, or by an index like `state[:, 3]`."""
    names = {n.id for n in ast.walk(entry) if isinstance(n, ast.Name)}
    loops = {n.target.id for n in ast.walk(entry) if _is_named_loop(n)}  # type: ignore[attr-defined]
    if (
        names & _BATCH_NAMES
        or loops & _BATCH_LOOPS
        or _BATCHED_TEXT.search(ast.get_docstring(entry) or "")
    ):
        return True
    if any(_is_second_size(entry, node) for node in ast.walk(entry)):
        return True
    return any(
        isinstance(index, ast.Tuple)
        and index.elts
        and isinstance(index.elts[0], ast.Slice)
        and _is_full(index.elts[0])
        and not all(_is_new_axis(part) for part in index.elts[1:])  # q[:, None] fits both
        for index in _parameter_indices(entry)
    )


def _is_second_size(entry: ast.FunctionDef, node: ast.AST) -> bool:
    """Whether this is `agent_qs.shape[1]`, the size of an axis that only a batch has."""
    match node:
        case ast.Subscript(
            value=ast.Attribute(value=ast.Name(id=name), attr="shape"), slice=ast.Constant(value=1)
        ):
            return name in [a.arg for a in [*entry.args.posonlyargs, *entry.args.args][:2]]
    return False


def says_unbatched(entry: ast.FunctionDef) -> bool:
    """Whether the text shows arguments without a batch: `state[3]`, `agent_qs[i]`, "[N]"."""
    if says_batched(entry):
        return False
    notes = [ast.get_docstring(entry) or ""]
    notes += [ast.unparse(a.annotation) for a in entry.args.args if a.annotation is not None]
    if any(_UNBATCHED_TEXT.search(note) for note in notes):
        return True
    for index in _parameter_indices(entry):
        first = index.elts[0] if isinstance(index, ast.Tuple) and index.elts else index
        if isinstance(first, ast.Slice):
            if not _is_full(first):
                return True
        elif isinstance(first, ast.Constant):
            if isinstance(first.value, int):
                return True
        elif not isinstance(index, ast.Tuple) and not isinstance(first, ast.Compare):
            return True
    return False


def _is_named_loop(node: ast.AST) -> bool:
    """Whether this is `for name in range(…)`; `for b in blocks` goes over no batch."""
    match node:
        case ast.For(target=ast.Name(), iter=ast.Call(func=ast.Name(id="range"))):
            return True
        case ast.comprehension(target=ast.Name(), iter=ast.Call(func=ast.Name(id="range"))):
            return True
    return False


def _is_full(part: ast.Slice) -> bool:
    return part.lower is None and part.upper is None


def _is_new_axis(part: ast.expr) -> bool:
    return (isinstance(part, ast.Constant) and part.value is None) or (
        isinstance(part, ast.Attribute) and part.attr == "newaxis"
    )


def _parameter_indices(entry: ast.FunctionDef) -> list[ast.expr]:
    """What the first two parameters are indexed with."""
    names = {a.arg for a in [*entry.args.posonlyargs, *entry.args.args][:2]}
    return [
        node.slice
        for node in ast.walk(entry)
        if isinstance(node, ast.Subscript)
        and isinstance(node.value, ast.Name)
        and node.value.id in names
    ]
