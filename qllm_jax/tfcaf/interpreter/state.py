"""The interpreter's state: where it is, what names hold, what was emitted, what may be spent.

`Run.evaluate` and `Run.execute` look nodes up in tables that the modules beside this one fill.
Imports the tfcaf modules below the interpreter. Made by `translate` for each reading of a source.
"""

from __future__ import annotations

import ast
import builtins
import dataclasses
import keyword
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from qllm_jax.tfcaf import limits
from qllm_jax.tfcaf.code import Code, words
from qllm_jax.tfcaf.comments import Comments
from qllm_jax.tfcaf.contract import TranslationError
from qllm_jax.tfcaf.emit import Body, Branch, Define, Line, Loop, Note
from qllm_jax.tfcaf.interpreter.constants import closed_source
from qllm_jax.tfcaf.interpreter.forms import check_weight, emittable, named
from qllm_jax.tfcaf.ops.context import OpCall
from qllm_jax.tfcaf.values import (
    Array,
    Mapping,
    Sequence,
    Value,
)

_GREEK = dict(
    zip(
        "αβγδεζηθικλμνξοπρστυφχψωΔΣΩΦΨΛΘΠ",
        words(
            "alpha beta gamma delta epsilon zeta eta theta iota kappa lam mu nu xi omicron pi "
            "rho sigma tau upsilon phi chi psi omega Delta Sigma Omega Phi Psi Lam Theta Pi"
        ),
        strict=True,
    )
)
_RESERVED = frozenset(dir(builtins)) | frozenset(keyword.kwlist) | {"jax", "jnp", "tfcaf"}


@dataclasses.dataclass(slots=True)
class Scope:
    """Names and what they hold.

    Attributes:
        parent: Where a name that is not here is looked up.
        kind: "module", "function", "comprehension" or "branch" (an overlay: assignments inside
            an `if` on data, which are merged after it).
        suffix: Added to the emitted names of a branch.
        gate: For a branch that must gate what it reads: where to emit that, and the condition.
        closed: Sources of variables that are made of constants alone, without variables in them.
        read_only: Names that a branch holds only in their gated form.
        one_sided: Names that only one side of an `if` on data defined.
    """

    parent: Scope | None
    kind: str
    suffix: str = ""
    values: dict[str, Value] = dataclasses.field(default_factory=dict)
    spelled: dict[str, str] = dataclasses.field(default_factory=dict)
    gate: tuple[Body, Code] | None = None
    closed: dict[str, str] = dataclasses.field(default_factory=dict)
    read_only: set[str] = dataclasses.field(default_factory=set)
    one_sided: dict[str, Value] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(slots=True)
class Frame:
    """A call of a function of the source.

    Attributes:
        node: Its definition.
        scope: Its local names.
        early: Returns under conditions on data so far: (condition, value).
        last_reads: For each name, the last line that reads it; loops reach to their end.
    """

    node: ast.FunctionDef | ast.Lambda | None
    scope: Scope
    early: list[tuple[Array, Value]] = dataclasses.field(default_factory=list)
    last_reads: dict[str, int] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(slots=True)
class Leave:
    """Why a block stopped: "return" (with its value), "break" or "continue"."""

    how: str
    value: Value | None = None


Expressions = dict[type[ast.AST], Callable[["Run", Any], Value]]
Statements = dict[type[ast.AST], Callable[["Run", Any], "Leave | None"]]
EXPRESSIONS: Expressions = {}
STATEMENTS: Statements = {}


def expression(*nodes: type[ast.AST]) -> Callable[[Any], Any]:
    """Register how nodes of these classes are evaluated."""

    def register(function: Any) -> Any:
        EXPRESSIONS.update(dict.fromkeys(nodes, function))
        return function

    return register


def statement(*nodes: type[ast.AST]) -> Callable[[Any], Any]:
    """Register how nodes of these classes are executed."""

    def register(function: Any) -> Any:
        STATEMENTS.update(dict.fromkeys(nodes, function))
        return function

    return register


@dataclasses.dataclass(slots=True)
class Run:
    """One reading of a source: in one dialect, batched or not, for given N and D.

    Attributes:
        dialect: "torch", "numpy" or "jnp".
        identifiers: Every name of the source and every name made so far.
        comments: The source's comments, by line.
        out: Where statements are emitted now.
        helpers: Names of prelude helpers in use.
        functions: Where each function of the source is emitted.
        frames: Calls of functions of the source, the innermost last.
        notes: What a reader should know.
        no_grad: Inside `torch.no_grad()`.
        single_row: The batch is known to have one row, as in our own output.
        module_nodes: Module-level definitions, by name.
        loading: Lines of module-level definitions that are being interpreted.
        top: What module-level definitions emitted, by line.
        ours: Prelude helpers that the source itself defines.
        masks: The rows that masks select, by mask.
    """

    dialect: str
    identifiers: set[str]
    comments: Comments
    budget: limits.Budget = dataclasses.field(default_factory=limits.Budget)
    scope: Scope = dataclasses.field(default_factory=lambda: Scope(None, "module"))
    out: Body = dataclasses.field(default_factory=list)
    helpers: set[str] = dataclasses.field(default_factory=set)
    functions: dict[int, Define] = dataclasses.field(default_factory=dict)
    frames: list[Frame] = dataclasses.field(default_factory=list)
    notes: list[str] = dataclasses.field(default_factory=list)
    no_grad: bool = False
    single_row: bool = False
    line: int | None = None
    lines_emitted: int = 0
    module_nodes: dict[str, ast.stmt] = dataclasses.field(default_factory=dict)
    loading: set[int] = dataclasses.field(default_factory=set)
    top: dict[int, Body] = dataclasses.field(default_factory=dict)
    ours: set[str] = dataclasses.field(default_factory=set)
    masks: dict[Any, Any] = dataclasses.field(default_factory=dict)

    # -- walking the tree --------------------------------------------------------------------------

    def evaluate(self, node: ast.expr) -> Value:
        """The value of an expression."""
        self.line = getattr(node, "lineno", self.line)
        self.budget.step(self.line)
        value = EXPRESSIONS[type(node)](self, node)
        if isinstance(value, Sequence | Mapping) and not isinstance(node, ast.Name | ast.Subscript):
            check_weight(value, self.line)
        self.budget.text(len(value.code.text), self.line)
        return value

    def execute(self, body: list[ast.stmt]) -> Leave | None:
        """Run a block until something leaves it, with the comments that stand in it."""
        for node in body:
            self.out += [Note(text) for text in self.comments.before(node.lineno)]
            leave = self.execute_one(node)
            if leave is not None:
                return leave
        return None

    def execute_one(self, node: ast.stmt) -> Leave | None:
        """Run one statement, with the comments on its lines."""
        self.line = node.lineno
        self.budget.step(self.line)
        start = len(self.out)
        leave = STATEMENTS[type(node)](self, node)
        remarks = self.comments.within(node)
        if remarks:
            first = self.out[start] if len(self.out) > start else None
            if len(remarks) == 1 and isinstance(first, Line | Loop | Branch) and not first.comment:
                first.comment = remarks[0]
            else:
                self.out[start:start] = [Note(remark) for remark in remarks]
        return leave

    def refuse(
        self, rule: str, message: str, fix: str, line: int | None = None
    ) -> TranslationError:
        """A refusal at the current line; the caller raises it."""
        return TranslationError(rule, message, fix, line or self.line)

    def context(self, name: str) -> OpCall:
        """A handler's context for an operation that syntax stands for, such as `+`."""
        return OpCall(self, self.dialect, name, self.line)

    def truth(self, node: ast.expr) -> Value:
        """The value of a condition."""
        return self.evaluate(node)

    # -- emitting ----------------------------------------------------------------------------------

    def emit(self, text: str, leaves: bool = False) -> None:
        """Emit one simple statement."""
        self.lines_emitted += 1
        if self.lines_emitted > limits.MAX_LINES:
            raise limits.too_big("The function unrolls into too many statements", self.line)
        self.budget.text(len(text), self.line)
        self.out.append(Line(text, leaves=leaves))

    @contextmanager
    def capture(self) -> Iterator[Body]:
        """Emit into a new body for a while."""
        outer, self.out = self.out, []
        try:
            yield self.out
        finally:
            self.out = outer

    @contextmanager
    def inside(self, scope: Scope) -> Iterator[Scope]:
        """Look names up in another scope for a while."""
        outer, self.scope = self.scope, scope
        try:
            yield scope
        finally:
            self.scope = outer

    # -- names -------------------------------------------------------------------------------------

    def fresh(self, base: str) -> str:
        """A name that nothing else has."""
        name, number = base, 2
        while name in self.identifiers or name in _RESERVED:
            name, number = f"{base}_{number}", number + 1
        self.identifiers.add(name)
        return name

    def spell(self, name: str) -> str:
        """The emitted form of one of the author's names: ASCII, and no name that we use."""
        if name.isascii() and name not in _RESERVED:
            return name
        for holder in (self.scope, self.module_scope()):
            if name in holder.spelled:
                return holder.spelled[name]
        plain = "".join(_GREEK.get(char, char) for char in name)
        if not plain.isascii():
            plain = "".join(ch if ch.isascii() else f"u{ord(ch):x}" for ch in plain)
            plain = plain if plain.isidentifier() else f"v{plain}"
        if plain in _RESERVED:
            plain += "_"
        spelled = self.fresh(plain)
        self.module_scope().spelled[name] = spelled
        return spelled

    def module_scope(self) -> Scope:
        """The outermost scope."""
        scope = self.scope
        while scope.parent is not None:
            scope = scope.parent
        return scope

    def find(self, name: str) -> tuple[Scope, Value] | None:
        """Where a name is bound, and to what."""
        scope: Scope | None = self.scope
        while scope is not None:
            if name in scope.values:
                return scope, scope.values[name]
            scope = scope.parent
        return None

    def assign(self, name: str, value: Value) -> None:
        """Bind a name and emit the assignment, where the value exists in the emitted source."""
        if name == "_":
            return
        if not emittable(value):
            self.bind(name, self._with_items_held(name, value))
            return
        target = self.target(name)
        if value.code.text != target:
            self.emit(f"{target} = {value.code.text}")
        closed = closed_source(self, value) if isinstance(value, Array) else None
        self.bind(name, named(value, Code(target)))
        if closed is not None and target == name:
            self.scope.closed[name] = closed

    def _with_items_held(self, name: str, value: Value) -> Value:
        """A container that is not emitted, with the arrays in it in variables of their own."""
        if isinstance(value, Sequence):
            places: Any = enumerate(value.items)
            inside: Any = value.items
        elif isinstance(value, Mapping):
            places, inside = list(value.entries.items()), value.entries
        else:
            return value
        for key, item in places:
            if isinstance(item, Array):
                held = self.fresh(f"{self.spell(name)}_{key}" if str(key).isalnum() else name)
                self.emit(f"{held} = {item.code.text}")
                inside[key] = named(item, Code(held))
        return value

    def target(self, name: str) -> str:
        """The emitted name that an assignment to `name` writes here."""
        scope = self.scope
        if scope.kind == "branch":
            if name not in scope.spelled:
                scope.spelled[name] = self.fresh(f"{self.spell(name)}{scope.suffix}")
            return scope.spelled[name]
        return self.spell(name)

    def bind(self, name: str, value: Value) -> None:
        """Bind a name in the current scope; nothing is emitted."""
        self.scope.read_only.discard(name)
        self.scope.closed.pop(name, None)
        self.scope.one_sided.pop(name, None)
        self.scope.values[name] = value

    def every_scope(self) -> Iterator[Scope]:
        """All scopes that are alive: those of the frames, from the innermost out."""
        seen: set[int] = set()
        for start in [self.scope, *(frame.scope for frame in reversed(self.frames))]:
            scope: Scope | None = start
            while scope is not None and id(scope) not in seen:
                seen.add(id(scope))
                yield scope
                scope = scope.parent

    def read_later(self, name: str) -> bool:
        """Whether the running function reads a name after the current line."""
        if not self.frames:
            return True
        return self.frames[-1].last_reads.get(name, 0) > (self.line or 0)

    def stack_display(self, value: Sequence, ctx: OpCall) -> Array:
        """A list or tuple of numbers and arrays as an array, as NumPy and jnp read it."""
        from qllm_jax.tfcaf.ops.common import array_of

        return array_of(ctx, value)
