"""`for` and `while` over what is known at translation. Fills `state.STATEMENTS`.

A body is interpreted once for each item. Where every item emits the same text, the loop stays a
loop; otherwise it is unrolled.
"""

from __future__ import annotations

import ast

from qllm_jax.tfcaf import limits
from qllm_jax.tfcaf.emit import Body, Branch, Line, Loop, Note, merge
from qllm_jax.tfcaf.interpreter import batch_loops
from qllm_jax.tfcaf.interpreter.forms import item_of, static_truth
from qllm_jax.tfcaf.interpreter.iteration import (
    bind_literal,
    bind_target,
    emittable_iterable,
    iterate,
    target_text,
)
from qllm_jax.tfcaf.interpreter.snapshot import Snapshot
from qllm_jax.tfcaf.interpreter.state import Leave, Run, statement
from qllm_jax.tfcaf.values import Array, Sequence, Value


@statement(ast.For)
def _for(run: Run, node: ast.For) -> Leave | None:
    iterable = run.evaluate(node.iter)
    sequence = iterate(run, iterable)
    if sequence.of_batch:
        return batch_loops.execute(run, node, sequence)
    if not sequence.items:
        return None
    if emittable_iterable(sequence):
        state = Snapshot(run)
        kept = _kept(run, node, sequence)
        if kept is not None:
            return kept[0]
        state.restore(run)
    return _unrolled(run, node, sequence)


@statement(ast.While)
def _while(run: Run, node: ast.While) -> Leave | None:
    """A loop whose condition is known at translation is written out, pass by pass."""
    for _ in range(limits.MAX_PASSES):
        test = run.evaluate(node.test)
        if isinstance(test, Array):
            raise _endless(run, "loops until the data says stop")
        if not static_truth(run, test):
            return None
        start = len(run.out)
        leave = run.execute(node.body)
        _drop_jump(run, start)
        if leave is not None and leave.how == "return":
            return leave
        if leave is not None and leave.how == "break":
            return None
    raise _endless(run, f"has not stopped after {limits.MAX_PASSES} passes")


def _endless(run: Run, what: str) -> Exception:
    return run.refuse(
        "while",
        f"This `while` {what}.",
        "Use `for … in range(n)` with a fixed n, or array operations.",
    )


def _kept(run: Run, node: ast.For, sequence: Sequence) -> tuple[Leave | None] | None:
    """Interpret a loop as one that stays; None where its passes emit different text."""
    header = f"for {target_text(run, node.target)} in {sequence.code.text}"
    identifiers = set(run.identifiers)
    merged: Body | None = None
    early = len(run.frames[-1].early) if run.frames else 0
    leave: Leave | None = None
    for index in range(len(sequence.items)):
        run.identifiers = set(identifiers)
        with run.capture() as body:
            bind_target(run, node.target, sequence.items[index])
            leave = run.execute(node.body)
        if run.frames and len(run.frames[-1].early) > early:
            return None
        merged = body if merged is None else merge(merged, body)
        if merged is None:
            return None
        if leave is not None and leave.how in ("return", "break"):
            break
    assert merged is not None
    run.out.append(Loop(header, merged))
    return (leave if leave is not None and leave.how == "return" else None,)


def _unrolled(run: Run, node: ast.For, sequence: Sequence) -> Leave | None:
    """Interpret a loop one pass after the other, and emit all of them."""
    for index in range(len(sequence.items)):
        item = item_of(sequence, index)
        run.out.append(Note(_pass_note(run, node.target, item)))
        bind_literal(run, node.target, item)
        start = len(run.out)
        leave = run.execute(node.body)
        _drop_jump(run, start)
        if leave is not None and leave.how == "return":
            return leave
        if leave is not None and leave.how == "break":
            break
    return None


def _drop_jump(run: Run, start: int) -> None:
    """A pass that ended in `continue` or `break` has nothing to jump over once unrolled."""
    if len(run.out) > start:
        last = run.out[-1]
        if isinstance(last, Line) and last.text in ("continue", "break"):
            run.out.pop()
        elif isinstance(last, Branch):
            raise run.refuse(
                "loop", "A loop that cannot stay a loop has nested exits.", "Simplify the loop."
            )


def _pass_note(run: Run, target: ast.expr, item: Value) -> str:
    text = item.code.text if len(item.code.text) < 60 else "…"
    if text[:1] == "(" and text[-1:] == ")":
        text = text[1:-1]
    return f"# {target_text(run, target)} = {text}"
