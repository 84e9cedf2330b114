"""The table of operations: one entry for each function, method or attribute of each dialect.

How to add an operation
-----------------------
A handler takes the call's context and its bound arguments by name, and returns a value whose
`code` is jnp source::

    @op("torch", "torch.flip .flip", "x|input, axis|dims")
    @op("numpy", "np.flip", "x|m, axis=None")
    @op("jnp", "jnp.flip", "x|m, axis=None")
    def flip(ctx: OpCall, x: Value, axis: Value) -> Value:
        x = ctx.array(x)
        axes = ctx.axes(x, axis)                       # static, normalised, in range
        ctx.refuse_mixing(x, axes)                     # never along the batch
        return ctx.result(x.shape, x.dtype, ctx.emit(x, "flip", axis=axis.code), x)

*Names*, separated by spaces: `torch.x`, `F.x`, `np.x`, `jnp.x`, `lax.x`, `jax.nn.x` are functions,
`.x` is a method of an array, `@x` is an attribute of an array. Prefixes of `PREFIXES` are
expanded.

*Signature*: parameters in positional order, as `name|alias|alias=default`. The handler gets the
first name; the caller may use any of them. `*` starts keyword-only ones, `*name` collects the
rest as a list of values, a default is a Python literal. For methods the receiver is the first
parameter. An argument that the handler accepts only at its default (`out=None`, `order="C"`) is
written in the signature with `!`, as in `out!=None`: any other value is refused.

*Sharing*: where dialects agree, stack decorators on one handler, and where they differ in a
constant pass it: `@op("torch", ".std", "…", ddof=1)` adds `ddof=1` to the handler's arguments.

*Results*: `ctx.result` for arrays, `values.static` for Python values, `ctx.pair` for named tuples.
Semantics that need more than an expression go to a named helper of `prelude` through `ctx.helper`.

Constants and dtypes of a module: `constant("np.pi", math.pi)`, `dtype("np.float64", "float")`.
Methods in place (`add_`) need no entry: the engine applies `.add` and updates the receiver.

Imports only `code`, `contract` and `values`. Filled by the modules beside it when the package
`ops` is imported; read by the interpreter.
"""

from __future__ import annotations

import ast
import dataclasses
import difflib
from collections.abc import Callable
from typing import Any, TypeVar

from qllm_jax.tfcaf.code import Code
from qllm_jax.tfcaf.contract import TranslationError
from qllm_jax.tfcaf.values import JNP_DTYPE, Dropped, DType, Kind, Static, Value, static

Handler = Callable[..., Value]
H = TypeVar("H", bound=Handler)
PREFIXES = {
    "F": "torch.nn.functional",
    "np": "numpy",
    "jnp": "jax.numpy",
    "lax": "jax.lax",
}


@dataclasses.dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of an operation: the handler's name, then other accepted names."""

    names: tuple[str, ...]
    default: Any
    keyword_only: bool = False
    variadic: bool = False
    only_default: bool = False


class _Required:
    """Marks a parameter without a default."""


REQUIRED = _Required()


@dataclasses.dataclass(frozen=True, slots=True)
class Op:
    """An operation: how it is called and what it does."""

    dialect: str
    name: str  # "torch.sum", ".sum" or "@T"
    parameters: tuple[Parameter, ...]
    handler: Handler
    extra: dict[str, Any]


_OPS: dict[tuple[str, str], Op] = {}
_CONSTANTS: dict[str, Any] = {}
_NEAREST = {  # names that difflib would not find
    "nonzero": "where",
    "argwhere": "where",
    "masked_select": "where",
    "unique": "where",
    "softargmax": "softmax",
}


def op(dialect: str, names: str, signature: str, **extra: Any) -> Callable[[H], H]:
    """Register the decorated handler; see the module's docstring."""

    def register(handler: H) -> H:
        parameters = _parse(signature)
        for name in names.split():
            full = expand(name)
            key = (dialect, full)
            assert key not in _OPS, f"{key} is registered twice"
            _OPS[key] = Op(dialect, full, parameters, handler, extra)
        return handler

    return register


def constant(path: str, value: Any) -> None:
    """Register a number of a module, such as `np.pi`."""
    _CONSTANTS[expand(path)] = value


def dtype(path: str, kind: Kind, usual: bool = True) -> None:
    """Register a dtype of a module, such as `torch.float64`."""
    _CONSTANTS[expand(path)] = DType(kind, _dtype_code(kind), usual)


def dropped(path: str, what: str) -> None:
    """Register a member that may only be handed on and means nothing in jnp."""
    _CONSTANTS[expand(path)] = Dropped(what)


def _dtype_code(kind: Kind) -> Any:
    return Code(JNP_DTYPE[kind])


def expand(name: str) -> str:
    """`F.relu` as `torch.nn.functional.relu`."""
    head, dot, tail = name.partition(".")
    return f"{PREFIXES[head]}.{tail}" if dot and head in PREFIXES else name


def lookup(dialect: str, name: str) -> Op | None:
    """The operation of this name, or None."""
    return _OPS.get((dialect, name))


def lookup_constant(path: str) -> Value | None:
    """A registered number, dtype or dropped member, or None."""
    found = _CONSTANTS.get(path)
    if found is None or isinstance(found, Value):
        return found
    return static(found)


def all_ops() -> list[Op]:
    """Every registered operation, for tests that put all of them through one check."""
    return list(_OPS.values())


def unknown(dialect: str, name: str, line: int | None) -> TranslationError:
    """A refusal that names the nearest operation we know."""
    last = name.rsplit(".", 1)[-1].lstrip("@")
    pool: dict[str, str] = {}
    for d, known in _OPS:
        if d == dialect and (known[0] in ".@") == (name[0] in ".@"):
            tail = known.rsplit(".", 1)[-1].lstrip("@")
            same_module = known.rsplit(".", 1)[0] == name.rsplit(".", 1)[0]
            if tail not in pool or same_module:
                pool[tail] = known
    near = _NEAREST.get(last) or next(iter(difflib.get_close_matches(last, pool, 1, 0.5)), None)
    shown = name.lstrip("@") if name[0] == "@" else name
    fix = (
        f"The nearest known one is `{_short(pool[near])}`."
        if near and near in pool
        else ("Write it with sums, products, `where`, `softmax`, `exp`, indexing and comparisons.")
    )
    what = f"`{_short(shown)}` is not an operation we know."
    return TranslationError("unknown-operation", what, fix, line)


def _short(name: str) -> str:
    for short, full in PREFIXES.items():
        if name.startswith(full + "."):
            return f"{short}.{name[len(full) + 1 :]}"
    return name.replace("@", ".")


def _parse(signature: str) -> tuple[Parameter, ...]:
    """The parameters of a signature string."""
    found: list[Parameter] = []
    keyword_only = False
    for part in _split(signature):
        if part == "*":
            keyword_only = True
            continue
        spelled, equals, default = part.partition("=")
        spelled, variadic = spelled.strip().lstrip("*"), spelled.strip().startswith("*")
        names = tuple(spelled.rstrip("!").split("|"))
        value = ast.literal_eval(default.strip()) if equals else REQUIRED
        found.append(Parameter(names, value, keyword_only, variadic, spelled.endswith("!")))
        keyword_only |= variadic
    return tuple(found)


def _split(signature: str) -> list[str]:
    parts, depth, current = [], 0, ""
    for char in signature:
        depth += (char in "([") - (char in ")]")
        if char == "," and depth == 0:
            parts.append(current.strip())
            current = ""
        else:
            current += char
    return [part for part in [*parts, current.strip()] if part]


def bind(
    operation: Op, args: list[Value], kwargs: dict[str, Value], line: int | None
) -> dict[str, Any]:
    """Match a call's arguments to an operation's parameters, by the handler's names.

    Raises:
        TranslationError: Rule "argument": one is unknown, missing, given twice or too many.
    """
    bound: dict[str, Any] = {}
    names = {name: p for p in operation.parameters for name in p.names}
    positional = [p for p in operation.parameters if not p.keyword_only]
    taken = 0
    for parameter in positional:
        if parameter.variadic:
            bound[parameter.names[0]] = list(args[taken:])
            taken = len(args)
        elif taken < len(args):
            bound[parameter.names[0]] = args[taken]
            taken += 1
    if taken < len(args):
        raise _argument(operation, f"takes at most {taken} positional arguments", line)
    for name, value in kwargs.items():
        parameter_or_none = names.get(name)
        if parameter_or_none is None:
            raise _argument(operation, f"has no argument `{name}`", line)
        key = parameter_or_none.names[0]
        if parameter_or_none.variadic and not bound.get(key):
            bound[key] = [value]
        elif key in bound:
            raise _argument(operation, f"got `{name}` twice", line)
        else:
            bound[key] = value
    for parameter in operation.parameters:
        _complete(operation, parameter, bound, line)
    return bound


def _complete(operation: Op, parameter: Parameter, bound: dict[str, Any], line: int | None) -> None:
    """Fill in a parameter's default, and hold those to it that must stay at it."""
    key = parameter.names[0]
    if key not in bound:
        if parameter.variadic:
            bound[key] = []
        elif parameter.default is REQUIRED:
            raise _argument(operation, f"needs `{parameter.names[-1]}`", line)
        else:
            bound[key] = static(parameter.default)
    if parameter.only_default:
        value = bound.pop(key)
        at_default = isinstance(value, Static) and value.value == parameter.default
        if not at_default and not isinstance(value, Dropped):
            raise _argument(operation, f"cannot take `{parameter.names[-1]}` here", line)


def _argument(operation: Op, what: str, line: int | None) -> TranslationError:
    accepted = ", ".join(
        ("*" if p.variadic else "") + p.names[-1]
        for p in operation.parameters
        if not p.only_default
    )
    return TranslationError(
        "argument",
        f"`{_short(operation.name)}` {what}.",
        f"Its arguments are: {accepted}.",
        line,
    )
