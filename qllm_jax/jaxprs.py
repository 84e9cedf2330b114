"""Walking traced programs: what is inside an equation, and what a matrix product costs.

Imports nothing of ours. Called by `verify.static` and `bench.work`.
"""

import math
from collections.abc import Iterator
from typing import Any


def nested(eqn: Any) -> list[Any]:
    """The open jaxprs inside an equation, whatever they are called."""
    found = []
    for value in eqn.params.values():
        for item in value if isinstance(value, (tuple, list)) else (value,):
            inner = getattr(item, "jaxpr", item)
            if hasattr(inner, "eqns"):
                found.append(inner)
    return found


def equations(jaxpr: Any) -> Iterator[Any]:
    """Every equation of an open jaxpr and of all inside it."""
    for eqn in jaxpr.eqns:
        yield eqn
        for inner in nested(eqn):
            yield from equations(inner)


def product_flops(eqn: Any) -> float:
    """Floating-point operations of one `dot_general`: two per multiplication and addition."""
    made = sum(math.prod(v.aval.shape) for v in eqn.outvars)
    contracted = eqn.params["dimension_numbers"][0][0]
    return 2.0 * made * math.prod(eqn.invars[0].aval.shape[axis] for axis in contracted)
