"""Loops over the samples of a batch, `for b in range(batch_size)`: one pass stands for all.

A pass may read its own rows (`x[b]`), write its own row (`out[b] = …`) and append one item to a
list. What it assigns otherwise is neither carried to the next pass nor read after the loop, so no
sample sees another.
"""

from __future__ import annotations

import ast
import dataclasses

from qllm_jax.tfcaf import code as c
from qllm_jax.tfcaf.code import Code
from qllm_jax.tfcaf.emit import Loop
from qllm_jax.tfcaf.interpreter.forms import named
from qllm_jax.tfcaf.interpreter.iteration import bind_target, target_text
from qllm_jax.tfcaf.interpreter.state import Leave, Run, Scope
from qllm_jax.tfcaf.values import ROW, Mapping, Sequence, Stale, Value


def execute(run: Run, node: ast.For, sequence: Sequence) -> Leave | None:
    """A loop over the batch."""
    own = _own_row_updates(node.body, _names(node.target))
    assigned = [name for name in _assigned(node.body) if name not in own]
    for name in assigned:
        found = run.find(name)
        if found is not None and found[0].kind != "module":
            run.bind(name, Stale(name, Code(f"{name} of another sample")))
    sizes = _sizes(run)
    header = f"for {target_text(run, node.target)} in {sequence.code.text}"
    with run.capture() as body:
        bind_target(run, node.target, sequence.items[0])
        leave = run.execute(node.body)
    if leave is not None and leave.how != "continue":
        raise run.refuse(
            "mixes-batch", "A loop over the batch is left early.", "Compute every sample."
        )
    run.out.append(Loop(header, body))
    for name in [*assigned, *_names(node.target)]:
        run.bind(name, Stale(name, Code(f"{name} of one sample")))
    _mark_grown(run, sizes)
    return None


def comprehend(run: Run, node: ast.expr, sequence: Sequence) -> Sequence:
    """A comprehension over the batch: one item for each sample."""
    if (
        not isinstance(node, ast.ListComp | ast.GeneratorExp)
        or len(node.generators) > 1
        or (node.generators[0].ifs)
    ):
        raise run.refuse(
            "mixes-batch", "Samples of the batch are filtered or keyed.", "Treat all alike."
        )
    target = node.generators[0].target
    with run.inside(Scope(run.scope, "comprehension")):
        bind_target(run, target, sequence.items[0])
        value = run.evaluate(node.elt)
    opening, closing = ("[", "]") if isinstance(node, ast.ListComp) else ("(", ")")
    clause = f" for {target_text(run, target)} in {sequence.code.within(c.OR)}"
    code = Code(f"{opening}{value.code.within(c.TERNARY)}{clause}{closing}")
    item = named(value, c.subscript(Code(f"list{code.text}"), "0"))
    return Sequence([item], "list", code, of_batch=True)


def _names(target: ast.expr) -> list[str]:
    return [n.id for n in ast.walk(target) if isinstance(n, ast.Name)]


def _assigned(body: list[ast.stmt]) -> list[str]:
    """Names that a body assigns as a whole."""
    found: list[str] = []
    for statement in body:
        for node in ast.walk(statement):
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                found.append(node.id)
    return list(dict.fromkeys(found))


def _own_row_updates(body: list[ast.stmt], row_names: list[str]) -> set[str]:
    """Names of which every assignment is `x = x.at[b, …].set(…)` with b the loop's variable."""
    found: dict[str, bool] = {}
    for statement in body:
        for node in ast.walk(statement):
            match node:
                case ast.Assign(targets=[ast.Name(id=name)], value=value):
                    is_update = _updates_row(value, name, row_names)
                    found[name] = found.get(name, True) and is_update
                case ast.AugAssign(target=ast.Name(id=name)) | ast.For(target=ast.Name(id=name)):
                    found[name] = False
    return {name for name, is_update in found.items() if is_update}


def _updates_row(value: ast.expr, name: str, row_names: list[str]) -> bool:
    match value:
        case ast.Call(
            func=ast.Attribute(
                value=ast.Subscript(
                    value=ast.Attribute(value=ast.Name(id=owner), attr="at"), slice=index
                )
            )
        ):
            first = index.elts[0] if isinstance(index, ast.Tuple) and index.elts else index
            is_row = isinstance(first, ast.Name) and first.id in row_names
            return owner == name and is_row
    return False


def _sizes(run: Run) -> list[tuple[Scope, str, Sequence | Mapping, int]]:
    return [
        (scope, name, value, len(value.items if isinstance(value, Sequence) else value.entries))
        for scope in run.every_scope()
        for name, value in scope.values.items()
        if isinstance(value, Sequence | Mapping)
    ]


def _mark_grown(run: Run, before: list[tuple[Scope, str, Sequence | Mapping, int]]) -> None:
    """Lists that took one item per pass now hold one item per sample."""
    for scope, name, value, size in before:
        now = len(value.items if isinstance(value, Sequence) else value.entries)
        if now == size:
            continue
        if not isinstance(value, Sequence) or size or now != 1 or value.of_batch:
            raise run.refuse(
                "mixes-batch",
                f"`{name}` collects more than one item for each sample.",
                "Append once per sample to an empty list, then stack it.",
            )
        scope.values[name] = dataclasses.replace(value, of_batch=True)


def is_row(value: Value) -> bool:
    """Whether an index is the number of the sample that a loop is at."""
    return getattr(value, "value", None) is ROW
