"""List, dict and generator comprehensions. Fills `state.EXPRESSIONS`.

The element is interpreted once for each item. Where every pass gives the same text, the
comprehension stays one; otherwise its elements are written out.
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import Any

from qllm_jax.tfcaf import code as c
from qllm_jax.tfcaf.code import Code
from qllm_jax.tfcaf.interpreter import batch_loops
from qllm_jax.tfcaf.interpreter.expressions import check_items, static_key
from qllm_jax.tfcaf.interpreter.forms import emittable, item_of, named, static_truth
from qllm_jax.tfcaf.interpreter.iteration import (
    bind_literal,
    bind_target,
    emittable_iterable,
    iterate,
    target_text,
)
from qllm_jax.tfcaf.interpreter.snapshot import Snapshot
from qllm_jax.tfcaf.interpreter.state import Run, Scope, expression
from qllm_jax.tfcaf.values import Array, Mapping, Sequence, Value


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
    head = f" for {target_text(run, generator.target)} in {sequence.code.within(c.OR)}"
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
