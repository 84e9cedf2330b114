"""Interpret a traced program on intervals: what holds for every input.

Sound in exact arithmetic and wherever intermediate results are finite: an unknown primitive may
give anything, a loop too long to unroll may do anything.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from qllm_jax.verify import array_rules
from qllm_jax.verify.array_rules import ARRAYS
from qllm_jax.verify.choice_rules import CHOICES, convert
from qllm_jax.verify.intervals import (
    DEPENDS_ON_QS,
    DEPENDS_ON_STATE,
    MAY_BE_NAN,
    Value,
    join,
    make_value,
    top,
)
from qllm_jax.verify.marks import is_continuous_function, marks, unmarked
from qllm_jax.verify.rules import ELEMENTWISE
from qllm_jax.verify.worker import index_bounds

_RULES = ELEMENTWISE | CHOICES | ARRAYS
_UNROLLED = 64  # longest scan that is interpreted step by step
_MOST_STEPS = 20_000  # equations interpreted before the rest may be anything


class Interpreter:
    """One pass over one program.

    Attributes:
        loose_indices: Data-dependent indices not shown to be inside their array, as primitives.
    """

    def __init__(self) -> None:
        self.loose_indices: list[str] = []
        self._steps = 0

    def run(self, closed_jaxpr: Any, inputs: Sequence[Value]) -> list[Value]:
        """Values of a closed jaxpr's outputs."""
        with np.errstate(all="ignore"):
            consts = [_constant(c) for c in closed_jaxpr.consts]
            return self._jaxpr(closed_jaxpr.jaxpr, consts, inputs)

    def _jaxpr(self, jaxpr: Any, consts: list[Value], inputs: Sequence[Value]) -> list[Value]:
        env = dict(zip(jaxpr.constvars, consts, strict=True))
        env.update(zip(jaxpr.invars, inputs, strict=True))

        def read(variable: Any) -> Value:
            return _constant(variable.val) if hasattr(variable, "val") else env[variable]

        for eqn in jaxpr.eqns:
            values = self._equation(eqn, [read(v) for v in eqn.invars])
            env.update(zip(eqn.outvars, values, strict=True))
        return [read(v) for v in jaxpr.outvars]

    def _equation(self, eqn: Any, inputs: list[Value]) -> list[Value]:
        depends = 0
        for value in inputs:
            depends |= value.depends
        avals = [v.aval for v in eqn.outvars]
        self._steps += 1
        self._note_indices(eqn, inputs)
        inner = eqn.params.get("jaxpr", eqn.params.get("call_jaxpr"))
        if self._steps > _MOST_STEPS:
            bits = [depends | extra for extra in marks(eqn, inputs, known=False)]
            return [top(a.shape, a.dtype, b) for a, b in zip(avals, bits, strict=True)]
        if eqn.primitive.name == "scan":
            return self._scan(eqn, inputs)
        if eqn.primitive.name == "cond":
            return self._cond(eqn, inputs)
        if inner is not None and "while" not in eqn.primitive.name:
            open_jaxpr = getattr(inner, "jaxpr", inner)
            if len(open_jaxpr.invars) == len(inputs):
                consts = [_constant(c) for c in getattr(inner, "consts", ())]
                outputs = self._jaxpr(open_jaxpr, consts, inputs)
                return unmarked(outputs, inputs) if is_continuous_function(eqn) else outputs
        found = _apply(eqn, inputs)
        bits = [depends | extra for extra in marks(eqn, inputs, found is not None)]
        if found is None:
            return [top(a.shape, a.dtype, b) for a, b in zip(avals, bits, strict=True)]
        return [_finished(v, a, b, inputs) for v, a, b in zip(found, avals, bits, strict=True)]

    def _note_indices(self, eqn: Any, inputs: list[Value]) -> None:
        for position, limit in index_bounds(eqn):
            index = inputs[position]
            inside = np.all(index.lo >= 0) and np.all(index.hi <= np.asarray(limit))
            if index.depends & (DEPENDS_ON_QS | DEPENDS_ON_STATE) and not inside:
                self.loose_indices.append(eqn.primitive.name)

    def _cond(self, eqn: Any, inputs: list[Value]) -> list[Value]:
        which, operands = inputs[0], inputs[1:]
        branches = eqn.params["branches"]
        if which.exact:
            branches = [branches[int(np.clip(which.lo, 0, len(branches) - 1))]]
        results = [
            self._jaxpr(b.jaxpr, [_constant(c) for c in b.consts], operands) for b in branches
        ]
        joined = [join(list(values)) for values in zip(*results, strict=True)]
        return [Value(v.lo, v.hi, v.depends | which.depends) for v in joined]

    def _scan(self, eqn: Any, inputs: list[Value]) -> list[Value]:
        """Step by step where short; otherwise the carry may become anything."""
        params, body = eqn.params, eqn.params["jaxpr"]
        num_consts, num_carry, length = params["num_consts"], params["num_carry"], params["length"]
        consts, carry = inputs[:num_consts], inputs[num_consts : num_consts + num_carry]
        xs = inputs[num_consts + num_carry :]
        body_consts = [_constant(c) for c in body.consts]
        if length > _UNROLLED or length == 0:
            return self._long_scan(eqn, inputs, body_consts)
        steps: list[list[Value]] = []
        order = range(length - 1, -1, -1) if params["reverse"] else range(length)
        for i in order:
            slices = [Value(x.lo[i], x.hi[i], x.depends) for x in xs]
            outputs = self._jaxpr(body.jaxpr, body_consts, [*consts, *carry, *slices])
            carry = outputs[:num_carry]
            steps.append(outputs[num_carry:])
        if params["reverse"]:
            steps.reverse()
        stacked = []
        for parts in zip(*steps, strict=True):
            depends = 0
            for part in parts:
                depends |= part.depends
            lo, hi = np.stack([p.lo for p in parts]), np.stack([p.hi for p in parts])
            stacked.append(make_value(lo, hi, lo.shape, depends))
        return [*carry, *stacked]

    def _long_scan(self, eqn: Any, inputs: list[Value], body_consts: list[Value]) -> list[Value]:
        params, body = eqn.params, eqn.params["jaxpr"]
        num_consts, num_carry = params["num_consts"], params["num_carry"]
        depends = 0
        for value in inputs:
            depends |= value.depends
        carry_avals = [v.aval for v in body.jaxpr.outvars[:num_carry]]
        depends |= MAY_BE_NAN
        carry = [top(a.shape, a.dtype, depends) for a in carry_avals]
        one = [
            make_value(*x.hull, x.shape[1:], x.depends) for x in inputs[num_consts + num_carry :]
        ]
        outputs = self._jaxpr(body.jaxpr, body_consts, [*inputs[:num_consts], *carry, *one])
        for value in outputs:
            depends |= value.depends
        carry = [value.with_depends(depends) for value in carry]
        stacked = [
            make_value(*v.hull, aval.aval.shape, depends)
            for v, aval in zip(outputs[num_carry:], eqn.outvars[num_carry:], strict=True)
        ]
        return [*carry, *stacked]


def _apply(eqn: Any, inputs: list[Value]) -> list[Value] | None:
    """The rule's answer; None where there is no rule."""
    name = eqn.primitive.name
    if name == "convert_element_type":
        old, new = eqn.invars[0].aval.dtype, eqn.params["new_dtype"]
        return [convert(inputs[0], np.dtype(old), np.dtype(new))]
    if name in ("div", "rem") and _by_integer_zero(eqn, inputs[1]):
        return None
    if name == "gather":
        return [array_rules.gather(eqn, *inputs)]
    if name == "dynamic_slice":
        return [array_rules.dynamic_slice(eqn, *inputs)]
    if name == "dynamic_update_slice":
        return [array_rules.dynamic_update_slice(eqn, *inputs)]
    if name.startswith("scatter"):
        return [array_rules.scatter(eqn, *inputs)]
    if name not in _RULES:
        return None
    outputs = _RULES[name](eqn.params, *inputs)
    return outputs if isinstance(outputs, list) else [outputs]


def _by_integer_zero(eqn: Any, divisor: Value) -> bool:
    integer = np.issubdtype(eqn.invars[0].aval.dtype, np.integer)
    return integer and bool(np.any((divisor.lo <= 0) & (divisor.hi >= 0)))


def _finished(value: Value, aval: Any, depends: int, inputs: list[Value]) -> Value:
    """The value with its shape, dependence and dtype's range; integers wrap, so may be anything."""
    dtype = np.dtype(aval.dtype)
    given = any(value is one for one in inputs)
    depends = depends if given or not value.depends else value.depends  # where a rule knows better
    if not np.issubdtype(dtype, np.floating):
        depends &= ~MAY_BE_NAN
    if given:
        return value.with_depends(depends)
    lo, hi = value.lo, value.hi
    if not np.issubdtype(dtype, np.floating):
        bound_lo, bound_hi = np.trunc(lo), np.trunc(hi)
        whole = top((), dtype, 0)
        if bound_lo.size and (bound_lo.min() < whole.lo or bound_hi.max() > whole.hi):
            return top(aval.shape, dtype, depends)
        lo, hi = bound_lo, bound_hi
    return make_value(
        np.broadcast_to(lo, aval.shape),
        np.broadcast_to(hi, aval.shape),
        aval.shape,
        depends,
        relations=value.relations,
        comparison=value.comparison,
        sign_of=value.sign_of,
        apart=value.apart,
        multiple_of=value.multiple_of,
        same_as=value.same_as,
    )


def _constant(array: Any) -> Value:
    numbers = np.asarray(array).astype(np.float64)
    return make_value(numbers, numbers, numbers.shape)
