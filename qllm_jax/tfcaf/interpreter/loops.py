"""Loops and comprehensions over what is known at translation.

A body is interpreted once for each item. Where every item emits the same text, the loop stays a
loop; otherwise it is unrolled. Fills `STATEMENTS` and `EXPRESSIONS`.
"""

from __future__ import annotations

import ast
import dataclasses
from collections.abc import Callable
from typing import Any

from qllm_jax.tfcaf import code as c
from qllm_jax.tfcaf import limits
from qllm_jax.tfcaf.code import Code
from qllm_jax.tfcaf.emit import Body, Loop, Note, Variant, merge
from qllm_jax.tfcaf.interpreter import batch_loops
from qllm_jax.tfcaf.interpreter.expressions import check_items, static_key
from qllm_jax.tfcaf.interpreter.forms import emittable, item_of, named, static_truth
from qllm_jax.tfcaf.interpreter.state import Leave, Run, Scope, expression, statement
from qllm_jax.tfcaf.values import (
    Array,
    Batch,
    Mapping,
    Masked,
    Sequence,
    Static,
    Value,
    describe,
)


def iterate(run: Run, value: Value) -> Sequence:
    """What a loop goes over, as a sequence of known length.

    Raises:
        TranslationError: Rules "mixes-batch" (rows of the batch), "dynamic-loop".
    """
    match value:
        case Sequence():
            return value
        case Mapping():
            from qllm_jax.tfcaf.interpreter.containers import call_dict_method

            keys = call_dict_method(run, value, "keys", [], {})
            assert isinstance(keys, Sequence)
            return dataclasses.replace(keys, code=value.code)
        case Array(shape=(int() as size, *rest)):
            ctx = run.context("for")
            if size > limits.MAX_ITERATIONS:
                raise limits.too_big("A loop over an array is too long", run.line)
            items: list[Value] = []
            for i in range(size):
                row = ctx.result(tuple(rest), value.dtype, c.subscript(value.code, str(i)), value)
                if isinstance(value.const, tuple):
                    row.const = value.const[i]
                items.append(row)
            return Sequence(items, "array", value.code)
        case Array(shape=(Batch(), *_)):
            return batch_loops.rows_of(run, value)
        case Array(shape=(Masked(), *_)):
            raise run.context("for").dynamic_shape()
    raise run.refuse(
        "dynamic-loop", f"A loop over {describe(value)}.", "Loop over a range, list or dict."
    )


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


def emittable_iterable(sequence: Sequence) -> bool:
    """Whether a loop can go over it in the emitted source."""
    plain = sequence if sequence.kind in ("list", "tuple", "range") else None
    if plain is not None:
        return emittable(plain)
    return all(emittable(item) for item in sequence.items)


def _kept(run: Run, node: ast.For, sequence: Sequence) -> tuple[Leave | None] | None:
    """Interpret a loop as one that stays; None where its passes emit different text."""
    header = f"for {_target_text(run, node.target)} in {sequence.code.text}"
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
    from qllm_jax.tfcaf.emit import Branch, Line

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
    return f"# {_target_text(run, target)} = {text}"


def _target_text(run: Run, target: ast.expr) -> str:
    """The emitted names of a loop's target."""
    if isinstance(target, ast.Name):
        return "_" if target.id == "_" else run.target(target.id)
    if isinstance(target, ast.Tuple | ast.List):
        inner = []
        for part in target.elts:
            text = _target_text(run, part)
            inner.append(f"({text})" if isinstance(part, ast.Tuple | ast.List) else text)
        return ", ".join(inner)
    raise run.refuse("loop-target", "A loop assigns to something odd.", "Use plain names.")


def bind_target(run: Run, target: ast.expr, value: Value) -> None:
    """Bind the names of a loop that stays: their values are only known by name."""
    target = target.value if isinstance(target, ast.Starred) else target
    if isinstance(target, ast.Name):
        if target.id == "_":
            return
        code = Code(run.target(target.id))
        if isinstance(value, Static):
            run.bind(target.id, Static(value.value, code, varying=True))
        elif isinstance(value, Sequence):
            run.bind(target.id, dataclasses.replace(value, code=code, varying=True))
        else:
            run.bind(target.id, named(value, code))
        return
    for part, item in zip(target.elts, unpacked(run, target, value), strict=True):  # type: ignore[attr-defined]
        bind_target(run, part, item)


def bind_literal(run: Run, target: ast.expr, value: Value) -> None:
    """Bind the names of an unrolled loop's pass: their values are written out."""
    target = target.value if isinstance(target, ast.Starred) else target
    if isinstance(target, ast.Name):
        if target.id == "_":
            return
        if isinstance(value, Static):
            literal = value.code
            if isinstance(value.value, bool | int | float | str):
                literal = c.literal(value.value)
            run.bind(target.id, Static(value.value, literal))
        else:
            run.bind(target.id, value)
        return
    for part, item in zip(target.elts, unpacked(run, target, value), strict=True):  # type: ignore[attr-defined]
        bind_literal(run, part, item)


def unpacked(run: Run, target: ast.expr, value: Value) -> list[Value]:
    """The items of a value for a tuple of targets; a list of them for `*rest`.

    Raises:
        TranslationError: Rule "unpack": the numbers differ, or it has no fixed number.
    """
    wanted = len(target.elts)  # type: ignore[attr-defined]
    if isinstance(value, Array) and value.shape:
        sequence = iterate(run, value)
    elif isinstance(value, Sequence):
        sequence = value
    else:
        raise run.refuse("unpack", f"{describe(value)} is unpacked.", "Unpack tuples and lists.")
    if sequence.of_batch:
        raise run.refuse("mixes-batch", "The batch is unpacked into samples.", "Treat all alike.")
    stars = [i for i, part in enumerate(target.elts) if isinstance(part, ast.Starred)]  # type: ignore[attr-defined]
    spare = len(sequence.items) - wanted
    if spare < -1 or (spare and not stars):
        raise run.refuse(
            "unpack",
            f"{len(sequence.items)} values are unpacked into {wanted} names.",
            "Use as many names as values.",
        )
    items = [item_of(sequence, i) for i in range(len(sequence.items))]
    if stars:
        at, count = stars[0], spare + 1
        rest = items[at : at + count]
        code = c.display([item.code for item in rest], False)
        items[at : at + count] = [Sequence(rest, "list", code)]
    return items


@expression(ast.ListComp, ast.GeneratorExp)
def _list_comprehension(run: Run, node: ast.ListComp | ast.GeneratorExp) -> Value:
    return _comprehension(run, node, node.generators, lambda r: [r.evaluate(node.elt)])


@expression(ast.DictComp)
def _dict_comprehension(run: Run, node: ast.DictComp) -> Value:
    made = _comprehension(
        run, node, node.generators, lambda r: [r.evaluate(node.key), r.evaluate(node.value)]
    )
    assert isinstance(made, Sequence)
    entries: dict[Any, Value] = {}
    for pair in made.items:
        assert isinstance(pair, Sequence)
        entries[static_key(run, pair.items[0])] = pair.items[1]
    return Mapping(entries, made.code)


def _comprehension(
    run: Run,
    node: ast.expr,
    generators: list[ast.comprehension],
    element: Callable[[Run], list[Value]],
) -> Value:
    """A comprehension: kept where each pass gives the same text, else written out."""
    first = run.evaluate(generators[0].iter)
    if isinstance(first, Sequence | Array) and iterate(run, first).of_batch:
        return batch_loops.comprehend(run, node, iterate(run, first))
    state = Snapshot(run)
    passes: list[list[Value]] = []
    scope = Scope(run.scope, "comprehension")
    texts: set[str] = set()
    with run.inside(scope), run.capture() as emitted:
        _passes(run, generators, element, passes, texts, [], keep=True)
    is_dict = isinstance(node, ast.DictComp)
    if emitted:
        raise run.refuse(
            "comprehension", "A comprehension changes something.", "Write a plain loop."
        )
    kept = len(texts) <= 1 and all(map(emittable, [v for p in passes for v in p]))
    if kept and passes:
        inner = next(iter(texts))
        opening, closing = _brackets(node)
        code = Code(f"{opening}{inner}{closing}")
        return _collected(passes, is_dict, code)
    state.restore(run)
    passes = []
    with run.inside(Scope(run.scope, "comprehension")), run.capture():
        _passes(run, generators, element, passes, set(), [], keep=False)
    parts = [" : ".join(v.code.within(c.TERNARY) for v in values) for values in passes]
    if is_dict:
        inner = ", ".join(part.replace(" : ", ": ") for part in parts)
        return _collected(passes, True, Code(f"{{{inner}}}"), written_out=True)
    code = c.display([values[0].code for values in passes], False)
    return _collected(passes, False, code, written_out=True)


def _brackets(node: ast.expr) -> tuple[str, str]:
    return {ast.ListComp: ("[", "]"), ast.DictComp: ("{", "}")}.get(type(node), ("(", ")"))


def _collected(
    passes: list[list[Value]], is_dict: bool, code: Code, written_out: bool = False
) -> Sequence:
    """The items of a comprehension; of a kept one, called by their place in it."""
    if is_dict:
        pairs: list[Value] = [Sequence(list(p), "tuple", Code("()")) for p in passes]
        return Sequence(pairs, "list", code)
    items: list[Value] = []
    for index, values in enumerate(passes):
        item = values[0]
        if not written_out and emittable(item):
            holder = Code(f"list{code.text}") if code.text[0] == "(" else code
            item = named(item, c.subscript(holder, str(index)))
        items.append(item)
    return Sequence(items, "list", code)


def _passes(
    run: Run,
    generators: list[ast.comprehension],
    element: Callable[[Run], list[Value]],
    passes: list[list[Value]],
    texts: set[str],
    clauses: list[str],
    keep: bool,
) -> None:
    """Walk the `for` clauses; collect the elements and the text each of them would have."""
    generator, rest = generators[0], generators[1:]
    sequence = iterate(run, run.evaluate(generator.iter))
    if sequence.of_batch:
        raise run.refuse("mixes-batch", "A loop goes over the samples.", "Treat all alike.")
    keep = keep and emittable_iterable(sequence)
    head = f" for {_target_text(run, generator.target)} in {sequence.code.within(c.OR)}"
    for index in range(len(sequence.items)):
        item = sequence.items[index] if keep else item_of(sequence, index)
        (bind_target if keep else bind_literal)(run, generator.target, item)
        tests = [run.evaluate(test) for test in generator.ifs]
        if any(isinstance(test, Array) for test in tests):
            raise run.refuse(
                "dynamic-shape",
                "A comprehension is filtered by data.",
                "Keep all items and use `where`.",
            )
        clause = head + "".join(f" if {test.code.within(c.OR)}" for test in tests)
        if not all(static_truth(run, test) for test in tests):
            continue
        if rest:
            _passes(run, rest, element, passes, texts, [*clauses, clause], keep)
            continue
        values = element(run)
        passes.append(values)
        check_items(run, len(passes))
        shown = ": ".join(value.code.within(c.TERNARY) for value in values)
        texts.add(shown + "".join(clauses) + clause if keep else f"{shown}{len(passes)}")


class Snapshot:
    """What interpretation may change, to try a loop a second way."""

    def __init__(self, run: Run):
        self.scopes = [
            (s, dict(s.values), dict(s.spelled), set(s.read_only), dict(s.one_sided))
            for s in run.every_scope()
        ]
        self.containers: dict[int, tuple[Sequence | Mapping, Any]] = {}
        for _, values, *_ in self.scopes:
            for value in values.values():
                self._keep(value)
        self.frames = [(frame, list(frame.early)) for frame in run.frames]
        self.out = list(run.out)
        self.identifiers = set(run.identifiers)
        self.variants = {
            key: [Variant(v.name, v.header, v.body) for v in define.variants]
            for key, define in run.functions.items()
        }
        self.helpers, self.notes = set(run.helpers), list(run.notes)
        self.lines = run.lines_emitted

    def _keep(self, value: Value) -> None:
        if isinstance(value, Sequence | Mapping) and id(value) not in self.containers:
            inside = value.items if isinstance(value, Sequence) else value.entries
            self.containers[id(value)] = (value, inside.copy())
            for item in inside if isinstance(inside, list) else inside.values():
                self._keep(item)

    def restore(self, run: Run) -> None:
        """Go back to how it was."""
        for scope, values, spelled, read_only, one_sided in self.scopes:
            scope.values, scope.spelled = dict(values), dict(spelled)
            scope.read_only, scope.one_sided = set(read_only), dict(one_sided)
        for container, inside in self.containers.values():
            if isinstance(container, Sequence):
                container.items[:] = inside
            else:
                container.entries.clear()
                container.entries.update(inside)
        for frame, early in self.frames:
            frame.early = list(early)
        run.out[:] = self.out
        run.identifiers = set(self.identifiers)
        for key, variants in self.variants.items():
            run.functions[key].variants = variants
        run.helpers, run.notes = set(self.helpers), list(self.notes)
        run.lines_emitted = self.lines
