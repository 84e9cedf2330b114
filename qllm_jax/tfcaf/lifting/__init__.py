"""Classes, `:=` and `@jax.vmap` of a plain form, as functions and assignments. Nothing is executed.

    class Parsed(NamedTuple): …      ─►  def Parsed(pos, vel): return (pos, vel)
    class Mixer(nn.Module): …        ─►  def Mixer(tau=0.5): …  def Mixer_forward(self, q, s): …
    if (n := q.shape[1]) > 1:        ─►  n = q.shape[1]; if n > 1:
    @jax.vmap above a function f     ─►  def f_of_one(…): …  f = jax.vmap(f_of_one)

What is not of these forms stays as it is, and the grammar refuses it. Called by `grammar.parse`
before it checks every node, so what is made here is checked like the author's own text. What a
function was made from stands in its `type_comment`, which no source can set.
"""

from __future__ import annotations

import ast

from qllm_jax.tfcaf.lifting.making import (
    arguments_of,
    function,
    is_plain,
    origin,
    return_tuple,
)
from qllm_jax.tfcaf.lifting.mapping import mapped
from qllm_jax.tfcaf.lifting.objects import Object
from qllm_jax.tfcaf.lifting.walrus import hoisted

_RECORD_BASES = frozenset(("NamedTuple", "typing.NamedTuple"))
_RECORD_DECORATORS = frozenset(("dataclass", "dataclasses.dataclass"))
_OBJECT_BASES = frozenset(("nn.Module", "torch.nn.Module", "Module", "object"))
_RECORD_IMPORTS = {"collections": {"namedtuple"}, "dataclasses": {"dataclass", "field"}}


def lift(tree: ast.Module) -> None:
    """Rewrite classes, `:=` and `@jax.vmap` of a plain form, in place."""
    body: list[ast.stmt] = []
    taken = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name)}
    taken |= {n.name for n in ast.walk(tree) if isinstance(n, ast.FunctionDef)}
    for node in tree.body:
        body += _lifted(node, taken)
    tree.body = body
    if not any(isinstance(node, ast.FunctionDef) and origin(node) is None for node in body):
        tree.body += _entry(body)
    for inner in list(ast.walk(tree)):
        for field in ("body", "orelse"):
            statements = getattr(inner, field, None)
            if isinstance(statements, list):
                plain = [made for s in statements for made in mapped(s, taken)]
                setattr(inner, field, [made for s in plain for made in hoisted(s)])
    ast.fix_missing_locations(tree)


def _lifted(node: ast.stmt, taken: set[str]) -> list[ast.stmt]:
    """What stands for a module-level statement."""
    match node:
        case ast.ImportFrom(module=str() as module, level=0) if module in _RECORD_IMPORTS:
            known = [a.name in _RECORD_IMPORTS[module] and not a.asname for a in node.names]
            node.names = [a for a, is_known in zip(node.names, known, strict=True) if not is_known]
            return [node] if node.names else []
        case ast.Import() if all(a.name == "dataclasses" and not a.asname for a in node.names):
            return []
        case ast.Assign(targets=[ast.Name(id=name)], value=ast.Call() as call):
            fields = _namedtuple_fields(call)
            return [_record(node, name, [(f, None) for f in fields])] if fields else [node]
        case ast.ClassDef(keywords=[]):
            bases = {ast.unparse(base) for base in node.bases}
            decorators = {_decorator(d) for d in node.decorator_list}
            if getattr(node, "type_params", None):
                return [node]
            if (bases <= _RECORD_BASES and bases and not decorators) or (
                decorators and decorators <= _RECORD_DECORATORS and not bases
            ):
                return _record_class(node, taken)
            if bases <= _OBJECT_BASES and not decorators:
                return Object(node, taken).functions() or [node]
    return [node]


def _decorator(node: ast.expr) -> str:
    """A decorator without keywords that only say True or False, as `@dataclass(frozen=True)`."""
    if isinstance(node, ast.Call) and not node.args:
        constants = (isinstance(keyword.value, ast.Constant) for keyword in node.keywords)
        node = node.func if all(constants) else node
    return ast.unparse(node)


def _default(value: ast.expr | None) -> ast.expr | None:
    """A field's default; those of `field(default=…)` and of a factory of a list are written out."""
    match value:
        case ast.Call(func=ast.Name(id="field") | ast.Attribute(attr="field"), args=[]):
            pass
        case _:
            return value
    match value.keywords:
        case [ast.keyword(arg="default", value=given)]:
            return given
        case [ast.keyword(arg="default_factory", value=ast.Lambda() as factory)]:
            made = factory.body
            if isinstance(made, ast.List | ast.Tuple):
                return ast.copy_location(ast.Tuple(made.elts, ast.Load()), made)
    return value


def _namedtuple_fields(call: ast.Call) -> list[str]:
    """The fields of `namedtuple("Name", …)`; empty for any other call."""
    match call:
        case ast.Call(func=ast.Name(id="namedtuple"), args=[ast.Constant(), listed], keywords=[]):
            pass
        case _:
            return []
    if isinstance(listed, ast.Constant) and isinstance(listed.value, str):
        names = listed.value.replace(",", " ").split()
    elif isinstance(listed, ast.List | ast.Tuple):
        values = [e.value if isinstance(e, ast.Constant) else None for e in listed.elts]
        names = [value for value in values if isinstance(value, str)]
        names = names if len(names) == len(values) else []
    else:
        return []
    return names if all(map(is_plain, names)) else []


def _record_class(node: ast.ClassDef, taken: set[str]) -> list[ast.stmt]:
    fields: list[tuple[str, ast.expr | None]] = []
    methods: list[ast.stmt] = []
    for item in node.body:
        match item:
            case ast.AnnAssign(target=ast.Name(id=name)) if is_plain(name):
                fields.append((name, _default(item.value)))
            case ast.FunctionDef():
                methods.append(item)
            case ast.Expr(value=ast.Constant()) | ast.Pass():
                pass
            case _:
                return [node]
    given = [default is not None for _, default in fields]
    if not fields or given != sorted(given):
        return [node]
    if not methods:
        return [_record(node, node.name, fields)]
    plain = ast.ClassDef(node.name, [], [], [_setting(node, fields), *methods], [])
    return Object(ast.copy_location(plain, node), taken).functions() or [node]


def _setting(at: ast.stmt, fields: list[tuple[str, ast.expr | None]]) -> ast.stmt:
    """`def __init__(self, field, …): self.field = field; …`."""
    defaults = [default for _, default in fields if default is not None]
    sets: list[ast.stmt] = [
        ast.Assign(
            [ast.Attribute(ast.Name("self", ast.Load()), name, ast.Store())],
            ast.Name(name, ast.Load()),
        )
        for name, _ in fields
    ]
    arguments = arguments_of(["self", *(name for name, _ in fields)], defaults)
    return function(at, "__init__", arguments, sets, "")


def _record(at: ast.stmt, name: str, fields: list[tuple[str, ast.expr | None]]) -> ast.stmt:
    """`def Name(field, …): return (field, …)`."""
    names = [field for field, _ in fields]
    arguments = arguments_of(names, [default for _, default in fields if default is not None])
    return function(at, name, arguments, [return_tuple(names)], f"record {name}", names)


def _entry(body: list[ast.stmt]) -> list[ast.stmt]:
    """A function of two arrays for a source that is a class with `forward` and nothing else."""
    for node in reversed(body):
        made = origin(node)
        name = getattr(node, "name", "")
        if made and made.kind == "method" and name.endswith(("_forward", "_call")):
            assert isinstance(node, ast.FunctionDef)
            names = [a.arg for a in node.args.args[1:3]]
            if len(names) < 2:
                continue
            call = ast.parse(f"{name}({made.owner}(), {', '.join(names)})", mode="eval").body
            entry = function(
                node, "mix", arguments_of(names, []), [ast.Return(call)], f"entry {made.owner}"
            )
            entry.lineno = (node.end_lineno or node.lineno) + 1
            entry.type_comment = None
            return [entry]
    return []
