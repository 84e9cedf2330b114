"""A class without learned parameters, as a function that makes it and one for each method."""

from __future__ import annotations

import ast

from qllm_jax.tfcaf.lifting.making import arguments_of, function, is_plain, return_tuple

_METHOD_DECORATORS = frozenset(("staticmethod", "classmethod", "property", "torch.no_grad()"))
_METHODS = {"__call__": "call", "__init__": "init"}


class Object:
    """A class without learned parameters, as one function for each of its methods."""

    def __init__(self, node: ast.ClassDef, taken: set[str]):
        self.node = node
        self.taken = taken
        self.methods = {n.name: n for n in node.body if isinstance(n, ast.FunctionDef)}
        self.settings = [item for item in node.body if _constants(item)]
        self.constants = {name for item in self.settings for name in _constants(item)}
        self.fields: dict[str, str] = {}  # attribute as written -> field
        self.modules: dict[str, ast.expr] = {}  # attributes such as nn.Softmax(dim=-1)

    def functions(self) -> list[ast.stmt]:
        """The functions and constants that stand for the class; empty where it is another form."""
        if not self._is_plain():
            return []
        name = self.node.name
        constructor = self._constructor()
        made: list[ast.stmt] = [_OfClass(self).visit(item) for item in self.settings]
        made.append(constructor)
        for method in self.methods.values():
            if method.name != "__init__":
                made.append(self._method(method))
        new = {getattr(m, "name", "") for m in made} - {name}
        new |= {f"{name}_{constant}" for constant in self.constants}
        return [] if new & self.taken else made

    def _is_plain(self) -> bool:
        for item in self.node.body:
            match item:
                case ast.FunctionDef(name=method):
                    is_dunder = method.startswith("__") and method not in _METHODS
                    decorators = {ast.unparse(d) for d in item.decorator_list}
                    bare = not item.args.args and "staticmethod" not in decorators
                    if is_dunder or bare or not decorators <= _METHOD_DECORATORS:
                        return False
                case ast.Assign() | ast.AnnAssign() if all(map(is_plain, _constants(item) or [""])):
                    pass
                case ast.Expr(value=ast.Constant()) | ast.Pass():
                    pass
                case _:
                    return False
        return bool(self.methods)

    def _constructor(self) -> ast.FunctionDef:
        """`def Mixer(tau=0.5): self_tau = tau; return (self_tau,)`."""
        init = self.methods.get("__init__")
        if init is None:
            empty = [return_tuple([])]
            return function(
                self.node, self.node.name, arguments_of([], []), [*empty], self._makes()
            )
        me = init.args.args[0].arg
        body: list[ast.stmt] = []
        for item in init.body:
            if ast.unparse(item) in (
                "super().__init__()",
                f"super({self.node.name}, {me}).__init__()",
            ):
                continue
            body += self._in_constructor(item, me)
        names = [f"self_{field}" for field in self.fields.values()]
        arguments = ast.arguments(
            posonlyargs=[],
            args=init.args.args[1:],
            vararg=init.args.vararg,
            kwonlyargs=init.args.kwonlyargs,
            kw_defaults=init.args.kw_defaults,
            kwarg=init.args.kwarg,
            defaults=init.args.defaults,
        )
        body = [s for s in body if not isinstance(s, ast.Pass)]
        made = [*body, return_tuple(names)]
        return function(
            init, self.node.name, arguments, made, self._makes(), list(self.fields.values())
        )

    def _makes(self) -> str:
        return f"object {self.node.name}"

    def _in_constructor(self, item: ast.stmt, me: str) -> list[ast.stmt]:
        """A statement of `__init__`, with `self.x` as the variable `self_x`."""
        value: ast.expr
        match item:
            case ast.Expr(
                value=ast.Call(
                    func=ast.Attribute(value=ast.Name(id=owner), attr="register_buffer"),
                    args=[ast.Constant(value=str() as attribute), ast.expr() as value],
                )
            ) if owner == me:
                pass
            case ast.Assign(targets=[ast.Tuple(elts=parts)]) if all(
                isinstance(part, ast.Attribute) and ast.unparse(part.value) == me for part in parts
            ):
                names = [part.attr for part in parts]  # type: ignore[attr-defined]
                value = self._inside(item.value, me, constructing=True)
                targets = ast.Tuple([self._field(name) for name in names], ast.Store())
                return [ast.copy_location(ast.Assign([targets], value), item)]
            case ast.Assign(targets=[ast.Attribute(value=ast.Name(id=owner), attr=attribute)]) if (
                owner == me
            ):
                value = item.value
            case ast.AnnAssign(
                target=ast.Attribute(value=ast.Name(id=owner), attr=attribute),
                value=ast.expr() as given,
            ) if owner == me:
                value = given
            case _:
                return [self._inside(item, me, constructing=True)]
        text = ast.unparse(value)
        if text.startswith(("nn.", "torch.nn.")) and isinstance(value, ast.Call):
            self.modules[attribute] = value
            return []
        value = self._inside(value, me, constructing=True)
        return [ast.copy_location(ast.Assign([self._field(attribute)], value), item)]

    def _field(self, attribute: str) -> ast.Name:
        """The variable of the constructor that stands for `self.attribute`, as a target."""
        self.fields[attribute] = attribute.strip("_") or "unused"
        return ast.Name(f"self_{self.fields[attribute]}", ast.Store())

    def _method(self, method: ast.FunctionDef) -> ast.FunctionDef:
        decorators = {ast.unparse(d) for d in method.decorator_list}
        arguments = method.args
        me = arguments.args[0].arg if arguments.args else ""
        kind = "method"
        if "staticmethod" in decorators:
            kind, me = "static", ""
        elif "classmethod" in decorators:
            kind, me = "static", ""
            its_class = arguments.args.pop(0).arg
            method.body = [_Renamed(its_class, self.node.name).visit(item) for item in method.body]
        elif "property" in decorators:
            kind = "property"
        body = [self._inside(item, me) for item in method.body]
        made = function(
            method, self._called(method.name), arguments, body, f"{kind} {self.node.name}"
        )
        made.decorator_list = [d for d in method.decorator_list if "no_grad" in ast.unparse(d)]
        return made

    def _called(self, method: str) -> str:
        return f"{self.node.name}_{_METHODS.get(method, method)}"

    def _inside(self, node, me: str, constructing: bool = False):
        """A node of the class, with what it reads of the class and of itself resolved."""
        return _Members(self, me, constructing).visit(node)

    def is_static(self, method: str) -> bool:
        """Whether a method takes no object."""
        return bool(self._decorators(method) & {"staticmethod", "classmethod"})

    def is_property(self, method: str) -> bool:
        """Whether a method is read like an attribute."""
        return "property" in self._decorators(method)

    def _decorators(self, method: str) -> set[str]:
        return {ast.unparse(d) for d in self.methods[method].decorator_list}


class _Renamed(ast.NodeTransformer):
    """Reads of one name as reads of another."""

    def __init__(self, old: str, new: str):
        self.old, self.new = old, new

    def visit_Name(self, node: ast.Name) -> ast.AST:
        if node.id == self.old and isinstance(node.ctx, ast.Load):
            node.id = self.new
        return node


def _constants(item: ast.stmt) -> list[str]:
    """The names that a statement of the class's body sets; empty where it is no such statement."""
    match item:
        case ast.Assign(targets=[ast.Name(id=name)]):
            return [name]
        case ast.Assign(targets=[ast.Tuple(elts=parts)]):
            names = [part.id for part in parts if isinstance(part, ast.Name)]
            return names if len(names) == len(parts) else []
        case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr()):
            return [name]
    return []


class _OfClass(ast.NodeTransformer):
    """A statement of the class's body at the module's level: `A = B` as `Mixer_A = Mixer_B`."""

    def __init__(self, owner: Object):
        self.owner = owner

    def visit_Name(self, node: ast.Name) -> ast.AST:
        if node.id in self.owner.constants:
            node.id = f"{self.owner.node.name}_{node.id}"
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        assert node.value is not None, "checked by `_constants`"
        made = ast.Assign([self.visit(node.target)], self.visit(node.value))
        return ast.copy_location(made, node)


class _Members(ast.NodeTransformer):
    """Replaces `self.x`, `self.method(…)`, `cls.CONSTANT` and `Class.method(…)`."""

    def __init__(self, owner: Object, me: str, constructing: bool):
        self.owner, self.me, self.constructing = owner, me, constructing

    def _attribute(self, node: ast.AST) -> str:
        """The attribute of the object or class that a node reads; "" for anything else."""
        match node:
            case ast.Attribute(value=ast.Name(id=name), attr=attribute, ctx=ast.Load()) if name in (
                *(self.me, self.owner.node.name, "cls"),
            ):
                return attribute
            case ast.Attribute(
                value=ast.Attribute(value=ast.Name(id=name), attr="__class__"), attr=attribute
            ) if name == self.me:
                return attribute
        return ""

    def visit_Call(self, node: ast.Call) -> ast.AST:
        method = self._attribute(node.func)
        self.generic_visit(node)
        if method in self.owner.methods and not self.owner.is_static(method):
            node.args.insert(0, ast.Name(self.me, ast.Load()))
        elif isinstance(node.func, ast.Name) and node.func.id == self.me and self.me:
            forward = "forward" if "forward" in self.owner.methods else "__call__"
            node.func.id = self.owner._called(forward)
            node.args.insert(0, ast.Name(self.me, ast.Load()))
        return node

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        name, owner = self._attribute(node), self.owner
        if name in owner.modules:
            return owner.modules[name]
        if name in owner.fields:
            if self.constructing:
                return ast.copy_location(ast.Name(f"self_{owner.fields[name]}", ast.Load()), node)
            node.attr = owner.fields[name]
            return node
        if name in owner.constants:
            made = ast.Name(f"{owner.node.name}_{name}", ast.Load())
            return ast.copy_location(made, node)
        if name in owner.methods:
            called = ast.copy_location(ast.Name(owner._called(name), ast.Load()), node)
            if not owner.is_property(name):
                return called
            return ast.copy_location(ast.Call(called, [self.visit(node.value)], []), node)
        return self.generic_visit(node)
