"""Pieces of emitted source: text with the precedence of its outermost operator.

Every expression that we emit is put together here, so that parentheses stand exactly where they
are needed. Imports nothing of ours. Called by the interpreter and by the operations.
"""

import ast
import dataclasses
import math
from typing import Any

ATOM, POWER, UNARY, TIMES, PLUS, SHIFT, BIT_AND, BIT_XOR, BIT_OR = 16, 14, 13, 12, 11, 10, 9, 8, 7
COMPARE, NOT, AND, OR, TERNARY, LAMBDA = 6, 5, 4, 3, 2, 1

BINARY: dict[type[ast.AST], tuple[str, int]] = {
    ast.Add: ("+", PLUS),
    ast.Sub: ("-", PLUS),
    ast.Mult: ("*", TIMES),
    ast.Div: ("/", TIMES),
    ast.FloorDiv: ("//", TIMES),
    ast.Mod: ("%", TIMES),
    ast.MatMult: ("@", TIMES),
    ast.Pow: ("**", POWER),
    ast.LShift: ("<<", SHIFT),
    ast.RShift: (">>", SHIFT),
    ast.BitAnd: ("&", BIT_AND),
    ast.BitXor: ("^", BIT_XOR),
    ast.BitOr: ("|", BIT_OR),
}
UNARY_SIGNS: dict[type[ast.AST], tuple[str, int]] = {
    ast.USub: ("-", UNARY),
    ast.UAdd: ("+", UNARY),
    ast.Invert: ("~", UNARY),
    ast.Not: ("not ", NOT),
}
COMPARISONS: dict[type[ast.AST], str] = {
    ast.Eq: "==",
    ast.NotEq: "!=",
    ast.Lt: "<",
    ast.LtE: "<=",
    ast.Gt: ">",
    ast.GtE: ">=",
    ast.Is: "is",
    ast.IsNot: "is not",
    ast.In: "in",
    ast.NotIn: "not in",
}


def words(text: str) -> list[str]:
    """The words of a text, for tables of names."""
    return text.split()


@dataclasses.dataclass(frozen=True, slots=True)
class Code:
    """Text of an expression and how tightly its outermost operator binds."""

    text: str
    precedence: int = ATOM

    @property
    def is_name(self) -> bool:
        """Whether it is a plain variable, free to repeat."""
        return self.text.isidentifier()

    def within(self, precedence: int) -> str:
        """The text, in parentheses where an operator of `precedence` would tear it apart."""
        return self.text if self.precedence >= precedence else f"({self.text})"


def literal(value: Any) -> Code:
    """The source of a static Python value: numbers, strings, None, tuples, lists, slices."""
    if isinstance(value, bool) or value is None:
        return Code(repr(value))
    if isinstance(value, float):
        return _float(value)
    if isinstance(value, int):
        return Code(repr(value), ATOM if value >= 0 else UNARY)
    if isinstance(value, str):
        return Code(_string(value))
    if isinstance(value, tuple | list):
        return display([literal(item) for item in value], isinstance(value, tuple))
    raise AssertionError(f"no literal for {type(value)}")


def _string(value: str) -> str:
    plain = repr(value)
    return f'"{plain[1:-1]}"' if plain[0] == "'" and '"' not in plain else plain


def _float(value: float) -> Code:
    if math.isnan(value):
        return Code("jnp.nan")
    if math.isinf(value):
        return Code("jnp.inf") if value > 0 else Code("-jnp.inf", UNARY)
    digits, _, exponent = repr(value).partition("e")
    text = f"{digits}e{int(exponent)}" if exponent else digits
    return Code(text, ATOM if math.copysign(1.0, value) > 0 else UNARY)


def display(items: list[Code], is_tuple: bool) -> Code:
    """A tuple or list display."""
    inner = ", ".join(item.within(TERNARY) for item in items)
    if is_tuple:
        return Code(f"({inner},)" if len(items) == 1 else f"({inner})")
    return Code(f"[{inner}]")


def binary(operator: type[ast.AST], left: Code, right: Code) -> Code:
    """`left operator right`."""
    sign, level = BINARY[operator]
    if operator is ast.Pow:
        return Code(f"{left.within(level + 1)} ** {right.within(UNARY)}", level)
    return Code(f"{left.within(level)} {sign} {right.within(level + 1)}", level)


def unary(operator: type[ast.AST], operand: Code) -> Code:
    """`operator operand`."""
    sign, level = UNARY_SIGNS[operator]
    return Code(f"{sign}{operand.within(level)}", level)


def compare(left: Code, operators: list[type[ast.AST]], rights: list[Code]) -> Code:
    """A chain of comparisons."""
    text = left.within(COMPARE + 1)
    for operator, right in zip(operators, rights, strict=True):
        text += f" {COMPARISONS[operator]} {right.within(COMPARE + 1)}"
    return Code(text, COMPARE)


def boolean(is_and: bool, parts: list[Code]) -> Code:
    """Parts joined by `and` or `or`."""
    level = AND if is_and else OR
    sign = " and " if is_and else " or "
    return Code(sign.join(part.within(level + 1) for part in parts), level)


def ternary(test: Code, body: Code, orelse: Code) -> Code:
    """`body if test else orelse`."""
    text = f"{body.within(TERNARY + 1)} if {test.within(TERNARY + 1)} else {orelse.within(TERNARY)}"
    return Code(text, TERNARY)


def arguments(args: list[Any], kwargs: dict[str, Any]) -> str:
    """The inside of a call's parentheses; items may be `Code` or static Python values."""
    parts = [as_code(item).within(LAMBDA) for item in args]
    if len(args) == 1 and not kwargs and _is_generator(parts[0]):
        return parts[0][1:-1]
    parts += [f"{name}={as_code(item).within(LAMBDA)}" for name, item in kwargs.items()]
    return ", ".join(parts)


def _is_generator(text: str) -> bool:
    """Whether this is one generator expression in its own parentheses."""
    if not (text.startswith("(") and text.endswith(")") and " for " in text):
        return False
    depth, own_for = 0, False
    for position, char in enumerate(text):
        depth += (char in "([{") - (char in ")]}")
        own_for |= depth == 1 and text.startswith(" for ", position)
        if depth == 0 and position < len(text) - 1:
            return False
    return own_for


def call(function: str, args: list[Any], kwargs: dict[str, Any] | None = None) -> Code:
    """`function(args, **kwargs)`."""
    return Code(f"{function}({arguments(args, kwargs or {})})")


def method(receiver: Code, name: str, args: list[Any], kwargs: dict[str, Any]) -> Code:
    """`receiver.name(args, **kwargs)`."""
    return Code(f"{_receiver(receiver)}.{name}({arguments(args, kwargs)})")


def attribute(receiver: Code, name: str) -> Code:
    """`receiver.name`."""
    return Code(f"{_receiver(receiver)}.{name}")


def subscript(receiver: Code, index: str) -> Code:
    """`receiver[index]`."""
    return Code(f"{_receiver(receiver)}[{index}]")


def _receiver(receiver: Code) -> str:
    return f"({receiver.text})" if receiver.text[:1].isdigit() else receiver.within(ATOM)


def as_code(item: Any) -> Code:
    """`item` if it is code, its `code` if it is a value, else its literal."""
    if isinstance(item, Code):
        return item
    code = getattr(item, "code", None)
    return code if isinstance(code, Code) else literal(item)
