"""Conditions on data: both sides are computed, and `where` chooses.

Inside a branch, assignments go to variables of their own (`weights_if`), which are merged after
it. What carries the gradient of `agent_qs` into a branch that can divide, take roots or logs is
gated, so that a NaN of a side that is not taken does not reach the gradient.
"""

from __future__ import annotations

import ast
import dataclasses

from qllm_jax.tfcaf import code as c
from qllm_jax.tfcaf.code import Code, words
from qllm_jax.tfcaf.emit import Line
from qllm_jax.tfcaf.interpreter.forms import named
from qllm_jax.tfcaf.interpreter.state import Leave, Run, Scope
from qllm_jax.tfcaf.values import (
    Array,
    Mapping,
    Masked,
    Sequence,
    Stale,
    Static,
    Value,
    describe,
    format_shape,
    promote,
    same_shape,
)

_SAFE_CALLS = frozenset(
    words(
        "sum mean max min amax amin where clamp clip relu sigmoid tanh zeros ones full "
        "zeros_like ones_like full_like any all abs float long int bool unsqueeze squeeze "
        "view reshape expand maximum minimum stack cat concatenate softmax argmax argmin size "
        "clone len range arange astype to type_as copy flip sort argsort masked_fill fill_ "
        "zero_ mul_ add_ sub_ mul add sub append tensor array gather transpose permute"
    )
)


def can_blow_up(nodes: list[ast.stmt] | list[ast.expr]) -> bool:
    """Whether code may give an infinite or undefined gradient on data it was not meant for."""
    for node in nodes:
        for inner in ast.walk(node):
            if isinstance(inner, ast.BinOp | ast.AugAssign) and isinstance(
                inner.op, ast.Div | ast.Pow | ast.FloorDiv | ast.Mod
            ):
                divisor = inner.right if isinstance(inner, ast.BinOp) else inner.value
                constant = isinstance(divisor, ast.Constant)
                if not (constant and divisor.value and isinstance(inner.op, ast.Div)) and not (  # type: ignore[attr-defined]
                    constant and isinstance(inner.op, ast.Pow) and divisor.value in (1, 2, 3, 4)  # type: ignore[attr-defined]
                ):
                    return True
            if isinstance(inner, ast.Call):
                function = inner.func
                name = function.attr if isinstance(function, ast.Attribute) else None
                name = function.id if isinstance(function, ast.Name) else name
                if name not in _SAFE_CALLS:
                    return True
    return False


def guarded(run: Run, name: str, scope: Scope, value: Value) -> Value:
    """The value of a name where it is read: gated where a branch reads what lies outside it."""
    if isinstance(value, Stale):
        raise run.refuse(
            "aliasing",
            f"`{value.name}` was changed in place by a helper that it was passed to.",
            "Return the array from the helper and assign it, or pass `.clone()`.",
        )
    branch = run.scope
    while branch.kind == "comprehension" and branch.parent is not None:
        branch = branch.parent
    if branch.kind != "branch" or branch is scope or branch.gate is None:
        return value
    if not (isinstance(value, Array) and value.grad):
        return value
    source = guarded_outer(run, branch, name, scope, value)
    body, test = branch.gate
    target = run.fresh(f"{run.spell(name)}{branch.suffix}_in")
    code = run.context("if").helper("_only_where", test, source.code)
    body.append(Line(f"{target} = {code.text}"))
    gated = dataclasses.replace(source, code=Code(target))
    branch.values[name] = gated
    branch.read_only.add(name)
    return gated


def guarded_outer(run: Run, branch: Scope, name: str, scope: Scope, value: Array) -> Array:
    """The name as an enclosing branch sees it."""
    assert branch.parent is not None
    with run.inside(branch.parent):
        outer = guarded(run, name, scope, value)
    assert isinstance(outer, Array)
    return outer


def select_expression(run: Run, test: Array, node: ast.IfExp) -> Value:
    """`a if test else b` on data."""
    body, orelse = run.evaluate(node.body), run.evaluate(node.orelse)
    if can_blow_up([node.body]):
        body = _gated_expression(run, test, node.body)
    if can_blow_up([node.orelse]):
        opposite = dataclasses.replace(test, code=c.call("jnp.logical_not", [test.code]))
        orelse = _gated_expression(run, opposite, node.orelse)
    return choose(run, test, body, orelse)


def _gated_expression(run: Run, test: Array, node: ast.expr) -> Value:
    """One side of a ternary, its variables gated in place."""
    scope = Scope(run.scope, "comprehension")
    for inner in ast.walk(node):
        if isinstance(inner, ast.Name) and isinstance(inner.ctx, ast.Load):
            found = run.find(inner.id)
            if found is not None and isinstance(found[1], Array) and found[1].grad:
                code = run.context("if").helper("_only_where", test.code, found[1].code)
                scope.values[inner.id] = dataclasses.replace(found[1], code=code)
    with run.inside(scope):
        return run.evaluate(node)


def choose(run: Run, test: Array, body: Value, orelse: Value) -> Value:
    """`where(test, body, orelse)` of two values of the same form.

    Raises:
        TranslationError: Rule "branch-types": they differ in form or shape.
    """
    if isinstance(body, Static) and isinstance(orelse, Static) and body.value == orelse.value:
        return body
    if _same_tuple(body, orelse):
        pairs = zip(body.items, orelse.items, strict=True)  # type: ignore[attr-defined]
        return run.context("if").tuple([choose(run, test, a, b) for a, b in pairs])
    if not all(_is_numeric(side) for side in (body, orelse)):
        raise run.refuse(
            "branch-types",
            f"A condition on data chooses between {describe(body)} and {describe(orelse)}.",
            "Give the variable an array of the same shape on both sides.",
        )
    ctx = run.context("if")
    a, b = ctx.array(body), ctx.array(orelse)
    shape = a.shape
    if not same_shape(a.shape, b.shape):
        if not _numbers(body, orelse):
            raise run.refuse(
                "branch-types",
                f"A condition on data chooses between shapes {format_shape(a.shape)} and "
                f"{format_shape(b.shape)}.",
                "Give both sides the same shape.",
            )
        shape = ctx.broadcast(a, b)
    if any(isinstance(dim, Masked) for dim in shape):
        raise ctx.dynamic_shape()
    code = c.call("jnp.where", [test.code, a.code, b.code])
    return ctx.result(shape, promote(a.dtype, b.dtype), code, a, b)


def _same_tuple(body: Value, orelse: Value) -> bool:
    return (
        isinstance(body, Sequence)
        and isinstance(orelse, Sequence)
        and body.kind == orelse.kind == "tuple"
        and len(body.items) == len(orelse.items)
    )


def _numbers(*values: Value) -> bool:
    return any(isinstance(value, Static) for value in values)


def _is_numeric(value: Value) -> bool:
    return isinstance(value, Array) or (
        isinstance(value, Static) and isinstance(value.value, bool | int | float)
    )


def execute_if(run: Run, test: Array, node: ast.If) -> Leave | None:
    """An `if` whose condition is data."""
    test = _as_variable(run, test, node)
    sides: list[tuple[Scope, Leave | None]] = []
    opposite = Array((), "bool", c.call("jnp.logical_not", [test.code]))
    for body, suffix, gate in ((node.body, "_if", test), (node.orelse, "_else", opposite)):
        scope = Scope(run.scope, "branch", suffix)
        if can_blow_up(body):
            scope.gate = (run.out, gate.code)
        leave = None
        if body:
            before = _container_sizes(run)
            with run.inside(scope):
                leave = run.execute(body)
            _refuse_container_changes(run, before)
        sides.append((scope, leave))
    return _merge_sides(run, test, opposite, node, sides)


def _as_variable(run: Run, test: Array, node: ast.If) -> Array:
    """Name the condition, so that it is computed once and before what it guards."""
    if test.code.is_name:
        return test
    name = run.fresh("condition")
    run.emit(f"{name} = {test.code.text}")
    return dataclasses.replace(test, code=Code(name))


def _merge_sides(
    run: Run,
    test: Array,
    opposite: Array,
    node: ast.If,
    sides: list[tuple[Scope, Leave | None]],
) -> Leave | None:
    (body_scope, body_leave), (else_scope, else_leave) = sides
    for leave in (body_leave, else_leave):
        if leave is not None and leave.how != "return":
            raise run.refuse(
                "data-loop-exit",
                f"`{leave.how}` under a condition on data.",
                "Keep the loop running and choose the value with `where`.",
            )
    if body_leave and else_leave:
        assert body_leave.value is not None
        assert else_leave.value is not None
        return Leave("return", choose(run, test, body_leave.value, else_leave.value))
    if body_leave or else_leave:
        leave, condition = (body_leave, test) if body_leave else (else_leave, opposite)
        assert leave is not None
        _return_early(run, condition, leave, else_scope if body_leave else body_scope)
        return None
    names = [n for n in body_scope.values if n not in body_scope.read_only]
    names += [n for n in else_scope.values if n not in else_scope.read_only and n not in names]
    for name in names:
        _merge_name(run, test, name, body_scope, else_scope)
    return None


def _merge_name(run: Run, test: Array, name: str, body: Scope, orelse: Scope) -> None:
    """After an `if` on data: one variable from what either side left in it."""
    found = run.find(name)
    values = []
    for scope in (body, orelse):
        if name in scope.values and name not in scope.read_only:
            values.append(scope.values[name])
        elif found is not None:
            values.append(found[1])
    if len(values) < 2:  # defined on one side only: usable after it only inside that side
        run.scope.one_sided[name] = values[0]
        return
    merged = choose(run, test, values[0], values[1])
    if isinstance(merged, Array) and found is not None and isinstance(found[1], Array):
        merged = dataclasses.replace(merged, cell=found[1].cell, path=found[1].path)
        _inline_single(run, merged, name, body, orelse)
    run.assign(name, merged)


def _inline_single(run: Run, merged: Array, name: str, body: Scope, orelse: Scope) -> None:
    """Write `x = where(test, expression, x)` where a side is one short assignment to `x`."""
    for scope in (orelse, body):
        value = scope.values.get(name)
        if value is None or name in scope.read_only or not run.out:
            continue
        last = run.out[-1]
        target = value.code.text
        if not isinstance(last, Line) or not last.text.startswith(f"{target} = "):
            continue
        right = last.text[len(target) + 3 :]
        used = merged.code.text.count(target)
        if used == 1 and len(merged.code.text) + len(right) < 90 and not last.comment:
            code = merged.code.text.replace(target, right)
            if code.count("(") == code.count(")"):
                merged.code = Code(code)
                run.out.pop()


def _return_early(run: Run, condition: Array, leave: Leave, rest: Scope) -> None:
    """Remember a return under a condition; what follows it runs with gated variables."""
    assert leave.value is not None
    value = leave.value
    if not run.frames or run.frames[-1].node is None:
        raise run.refuse("early-return", "A return outside of a function.", "Return at its end.")
    if run.scope.kind == "branch":
        raise run.refuse(
            "early-return",
            "A return under two conditions on data, one inside the other.",
            "Choose the value with `where`, and return once.",
        )
    if not _is_numeric(value):
        raise run.refuse("early-return", "It returns something other than an array.", "Return one.")
    result = run.fresh("early_q_tot")
    run.emit(f"{result} = {value.code.text}")
    run.frames[-1].early.append((condition, named(value, Code(result))))
    for name, kept in rest.values.items():
        if name not in rest.read_only:
            run.assign(name, kept)
    otherwise = _opposite(condition)
    for name, kept in list(run.scope.values.items()):
        if isinstance(kept, Array) and kept.grad and run.read_later(name):
            code = run.context("if").helper("_only_where", otherwise, kept.code)
            run.assign(name, dataclasses.replace(kept, code=code))


def _opposite(condition: Array) -> Code:
    text = condition.code.text
    if text.startswith("jnp.logical_not(") and text.endswith(")"):
        return Code(text[len("jnp.logical_not(") : -1])
    return c.call("jnp.logical_not", [condition.code])


def finish_return(run: Run, value: Value) -> Value:
    """The value of a function, with its earlier returns under conditions put before it."""
    for condition, early in reversed(run.frames[-1].early):
        value = choose(run, condition, early, value)
    return value


def _container_sizes(run: Run) -> list[tuple[Sequence | Mapping, list[int]]]:
    """What every list and dict in sight holds, to see whether a branch changes it."""
    found: list[tuple[Sequence | Mapping, list[int]]] = []
    for scope in run.every_scope():
        for value in scope.values.values():
            if isinstance(value, Sequence):
                found.append((value, list(map(id, value.items))))
            elif isinstance(value, Mapping):
                found.append((value, list(map(id, value.entries.values()))))
    return found


def _refuse_container_changes(run: Run, before: list[tuple[Sequence | Mapping, list[int]]]) -> None:
    for container, contents in before:
        now = container.items if isinstance(container, Sequence) else container.entries.values()
        if list(map(id, now)) != contents:
            raise run.refuse(
                "dynamic-shape",
                "A list or dict is changed under a condition on data.",
                "Append always, and choose the value with `where`.",
            )
