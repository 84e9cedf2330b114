"""Builtins that give one number: `float`, `int`, `bool`, `abs`, `round`; and `math`.

Of static numbers within bounds, of single numbers of the data as array operations.
"""

from __future__ import annotations

import ast
import dataclasses
import math
from collections.abc import Callable

from qllm_jax.tfcaf import code as c
from qllm_jax.tfcaf import limits
from qllm_jax.tfcaf.code import Code, words
from qllm_jax.tfcaf.interpreter import statics
from qllm_jax.tfcaf.interpreter.expressions import binary, plain
from qllm_jax.tfcaf.interpreter.forms import is_static, static_truth
from qllm_jax.tfcaf.interpreter.state import Run
from qllm_jax.tfcaf.ops import registry
from qllm_jax.tfcaf.values import (
    Array,
    Batch,
    Sequence,
    Static,
    Value,
    describe,
    static,
)

_MATH = frozenset(
    words(
        "sqrt exp log log2 log10 log1p expm1 sin cos tan asin acos atan atan2 sinh cosh tanh "
        "pow floor ceil trunc fabs hypot copysign erf isnan isinf isfinite degrees radians "
        "prod comb factorial gcd isclose fmod dist fsum perm cbrt"
    )
)
Handler = Callable[[Run, list[Value], dict[str, Value]], Value]


def code_of(name: str, args: list[Value], kwargs: dict[str, Value] | None = None) -> Code:
    return c.call(name, list(args), dict(kwargs or {}))


def varying(values: list[Value]) -> bool:
    return any(isinstance(v, Static | Sequence) and v.varying for v in values)


def expect(run: Run, name: str, args: list[Value], counts: tuple[int, ...]) -> None:
    if len(args) not in counts:
        raise run.refuse("argument", f"`{name}()` got {len(args)} arguments.", "Check the call.")


def cast_static(run: Run, cast: type, value: Static) -> Static:
    """`float(n)` of a static number, within bounds."""
    if isinstance(value.value, Batch):
        if cast is int:
            return value
        raise run.refuse(
            "mixes-batch",
            "The batch size enters a computation, so q_tot would depend on how many samples "
            "there are.",
            "Use the batch size only as a shape.",
        )
    if isinstance(value.value, str) and cast is float and value.value.strip("+-") in ("inf", "nan"):
        return static(float(value.value))
    if not isinstance(value.value, bool | int | float):
        raise run.refuse("type", f"`{cast.__name__}` of {describe(value)}.", "Use a number.")
    try:
        made = cast(value.value)
    except (ValueError, OverflowError) as error:
        raise run.refuse("static-error", f"{error}.", "Check the number.") from None
    return Static(statics.checked(run, made), c.call(cast.__name__, [value]), value.varying)


def cast(cast: type) -> Handler:
    """`float(x)`, `int(x)`, `bool(x)` of a static number or of one number of the data."""

    def handler(run: Run, args: list[Value], kwargs: dict[str, Value]) -> Value:
        expect(run, cast.__name__, args, (0, 1))
        if not args:
            return static(cast())
        value = args[0]
        if cast is bool and is_static(value) and not isinstance(value, Static):
            return static(static_truth(run, value))
        if isinstance(value, Static):
            return cast_static(run, cast, value)
        if cast is bool and isinstance(value, Array):
            from qllm_jax.tfcaf.interpreter.expressions import truth_array

            return truth_array(run, value)
        return as_python_number(run, run.context(cast.__name__).array(value), cast.__name__)

    return handler


def as_python_number(run: Run, x: Array, kind: str | None) -> Value:
    """`x.item()`: one number.

    In torch it is cut off from the gradient. NumPy's arrays have none to lose, and jnp cannot
    take a number out of a traced array: there the author means the value, with its credit.
    """
    ctx = run.context("item")
    if type(x.const) in (int, float, bool) and x.shape == ():
        return static(x.const)
    if any(isinstance(dim, Batch) for dim in x.shape):
        raise ctx.mixes_batch("takes one number out of the whole batch")
    if any(dim != 1 for dim in x.shape):
        raise ctx.refuse("type", f"{describe(x)} is not one number.", "Reduce it first.")
    code = x.code if not x.shape else c.method(x.code, "reshape", [()], {})
    detached = run.dialect == "torch"
    if x.grad and detached:
        code = c.call("jax.lax.stop_gradient", [code])
    made = ctx.result((), x.dtype, code, x, grad=x.grad and not detached)
    if kind in ("int", "float") and made.dtype != kind:
        made = ctx.cast(made, kind)  # type: ignore[arg-type]
    return dataclasses.replace(made, weak=run.dialect != "jnp")


def rounded(run: Run, args: list[Value], kwargs: dict[str, Value]) -> Value:
    """Python's `round`: to even, an int without digits."""
    if kwargs.keys() - {"ndigits"}:
        raise run.refuse("argument", "`round` takes a number and its digits.", "Pass only these.")
    args = [*args, *kwargs.values()]
    expect(run, "round", args, (1, 2))
    values = [plain(run, a) for a in args if is_static(a)]
    if len(values) == len(args) and all(isinstance(v, int | float) for v in values):
        return Static(round(*values), code_of("round", args), varying(args))
    ctx = run.context("round")
    x = ctx.array(args[0])
    if x.shape != ():
        raise run.refuse("type", "`round` of an array.", "Use the library's round.")
    digits = plain(run, args[1]) if len(args) == 2 else None
    decimals = {} if not digits else {"decimals": digits}
    rounded = ctx.result((), "float", c.call("jnp.round", [x.code], decimals), x)
    return ctx.cast(rounded, "int") if digits is None else rounded


def absolute(run: Run, args: list[Value], kwargs: dict[str, Value]) -> Value:
    expect(run, "abs", args, (1,))
    value = args[0]
    if isinstance(value, Static) and isinstance(value.value, bool | int | float):
        return Static(abs(value.value), code_of("abs", args), value.varying)
    return _operation(run, "abs", args)


def call_math(run: Run, name: str, args: list[Value], kwargs: dict[str, Value]) -> Value:
    """`math.name(…)`: of static numbers within bounds, else the array library's own function."""
    if run.dialect == "numpy" and _over_arrays(args):
        if name == "fsum" and len(args) == 1:
            from qllm_jax.tfcaf.interpreter.builtin_functions import sum_of

            return sum_of(run, args, {})
        if name == "dist" and len(args) == 2:
            return _operation(run, "linalg.norm", [binary(run, ast.Sub, *args)])
    if any(isinstance(arg, Array) and arg.const is None for arg in args):
        return _math_on_array(run, name, args)
    if name not in _MATH or kwargs:
        raise run.refuse("unknown-operation", f"`math.{name}` is not known.", "Use torch or jnp.")
    values = [plain(run, arg) for arg in args]
    if any(isinstance(value, Batch) for value in values):
        raise run.refuse(
            "mixes-batch", "The batch size enters a computation.", "Use it only as a shape."
        )
    if name in ("factorial", "comb", "perm", "pow") and any(abs(v) > 64 for v in values):
        raise limits.too_big("A static number grows too large", run.line)
    try:
        result = getattr(math, name)(*values)  # a name of `_MATH` only
    except (ValueError, TypeError, ArithmeticError) as error:
        raise run.refuse("static-error", f"`math.{name}` fails: {error}.", "Check it.") from None
    result = statics.checked(run, result)
    return Static(result, c.literal(result), varying(args))


def _math_on_array(run: Run, name: str, args: list[Value]) -> Value:
    """`math.sqrt(x)` on one number of the data: the array library's function of that name."""
    prefix = {"torch": "torch", "numpy": "numpy", "jnp": "jax.numpy"}[run.dialect]
    operation = registry.lookup(run.dialect, f"{prefix}.{name}")
    arrays = [a for a in args if isinstance(a, Array)]
    plain_numbers = all(a.shape == () and a.weak for a in arrays)
    if operation is None or not (plain_numbers or run.dialect == "numpy"):
        raise run.refuse(
            "math-on-array",
            f"`math.{name}` takes a Python number, not {describe(arrays[0])}.",
            f"Use the array function `{prefix}.{name}`.",
        )
    return _operation(run, name, args)


def _over_arrays(args: list[Value]) -> bool:
    """Whether numbers of the data are among the arguments, or in a list of them."""
    inner = [item for arg in args if isinstance(arg, Sequence) for item in arg.items]
    return any(isinstance(value, Array) and value.const is None for value in [*args, *inner])


def _operation(run: Run, name: str, args: list[Value]) -> Value:
    """The array library's own function of that name."""
    from qllm_jax.tfcaf.interpreter.calls import call_operation

    prefix = {"torch": "torch", "numpy": "numpy", "jnp": "jax.numpy"}[run.dialect]
    operation = registry.lookup(run.dialect, f"{prefix}.{name}")
    assert operation is not None, name
    return call_operation(run, operation, args, {})
