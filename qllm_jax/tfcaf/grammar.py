"""Parse a source and refuse every piece of syntax that is not on the list. Nothing is executed.

An allow-list of AST node classes: a node class of a newer Python is refused because it is not
on it. Imports nothing above it. Called by `translate`;
its tables of names are read by `module_level` and the interpreter.
"""

import ast
import builtins
import warnings

from qllm_jax.tfcaf import limits
from qllm_jax.tfcaf.code import words
from qllm_jax.tfcaf.contract import TranslationError
from qllm_jax.tfcaf.lifting import lift
from qllm_jax.tfcaf.prelude import HELPERS

ALLOWED_NODES: tuple[type[ast.AST], ...] = (
    *(ast.Module, ast.FunctionDef, ast.arguments, ast.arg, ast.Return, ast.Lambda),
    *(ast.Assign, ast.AugAssign, ast.AnnAssign, ast.For, ast.While, ast.If, ast.With, ast.withitem),
    *(ast.Expr, ast.Pass, ast.Break, ast.Continue, ast.Assert, ast.Raise),
    *(ast.Import, ast.ImportFrom, ast.alias),
    *(ast.IfExp, ast.BoolOp, ast.BinOp, ast.UnaryOp, ast.Compare, ast.Call, ast.keyword),
    *(ast.Constant, ast.Attribute, ast.Subscript, ast.Slice, ast.Name, ast.Starred),
    *(ast.List, ast.Tuple, ast.Dict, ast.Set),
    *(ast.ListComp, ast.DictComp, ast.GeneratorExp, ast.comprehension),
    *(ast.JoinedStr, ast.FormattedValue),
    *(ast.Load, ast.Store, ast.And, ast.Or, ast.Not, ast.Invert, ast.UAdd, ast.USub),
    *(ast.Add, ast.Sub, ast.Mult, ast.Div, ast.FloorDiv, ast.Mod, ast.Pow, ast.MatMult),
    *(ast.LShift, ast.RShift, ast.BitAnd, ast.BitOr, ast.BitXor),
    *(ast.Eq, ast.NotEq, ast.Lt, ast.LtE, ast.Gt, ast.GtE, ast.Is, ast.IsNot, ast.In, ast.NotIn),
)

_FIXES = {
    "Try": ("try", "Write the function so that it cannot fail, for example with `where`."),
    "TryStar": ("try", "Write the function so that it cannot fail, for example with `where`."),
    "ClassDef": ("class", "Write plain functions; a TFCAF has no learned parameters or state."),
    "AsyncFunctionDef": ("async", "Write a plain function."),
    "AsyncFor": ("async", "Write a plain loop."),
    "AsyncWith": ("async", "Write plain statements."),
    "Await": ("async", "Write plain expressions."),
    "Yield": ("yield", "Return one array."),
    "YieldFrom": ("yield", "Return one array."),
    "Global": ("global", "Pass values as arguments and return them."),
    "Nonlocal": ("nonlocal", "Pass values as arguments and return them."),
    "Delete": ("del", "Leave the variable; it costs nothing."),
    "Match": ("match", "Use `if` and `elif` on static values, or `where` on data."),
    "NamedExpr": ("walrus", "Assign in a statement of its own."),
    "SetComp": ("set", "Use a list."),
}
_DECORATORS = frozenset(
    words(
        "jax.jit jit jax.checkpoint jax.remat torch.no_grad no_grad torch.jit.script "
        "torch.inference_mode partial(jax.jit) functools.partial(jax.jit) partial(jit)"
    )
)
_CONSTANTS = (bool, int, float, str, type(None), type(Ellipsis))

MODULES: dict[str, str] = {
    **{name: name for name in ("torch", "numpy", "jax", "math", "typing")},
    "torch.nn": "torch.nn",
    "torch.nn.functional": "torch.nn.functional",
    "torch.linalg": "torch.linalg",
    "torch.special": "torch.special",
    "torch.func": "torch.func",
    "numpy.linalg": "numpy.linalg",
    "jax.numpy": "jax.numpy",
    "jax.nn": "jax.nn",
    "jax.lax": "jax.lax",
    "jax.ops": "jax.ops",
    "jax.numpy.linalg": "jax.numpy.linalg",
    "jax.scipy": "jax.scipy",
    "jax.scipy.special": "jax.scipy.special",
    "jax.scipy.linalg": "jax.scipy.linalg",
    **{name: name for name in ("scipy", "scipy.linalg", "scipy.special", "scipy.spatial")},
    "scipy.spatial.distance": "scipy.spatial.distance",
    "jax.tree": "jax.tree",
    "jax.tree_util": "jax.tree_util",
    "__future__": "__future__",
    **{name: name for name in ("itertools", "functools", "operator", "collections")},
    "numpy.typing": "typing",
    "jax.typing": "typing",
    "typing_extensions": "typing",
}
ALLOWED_BUILTINS = frozenset(
    words(
        "len range zip enumerate sum min max abs int float bool round list tuple dict sorted "
        "reversed any all isinstance pow map filter divmod print ValueError AssertionError "
        "RuntimeError TypeError Exception NotImplementedError str object set type callable "
        "hasattr slice"
    )
)
_KNOWN_BUILTINS = frozenset(dir(builtins))


def parse(source: str) -> ast.Module:
    """Parse a source within bounds and check all of its syntax.

    Args:
        source: Python text, not trusted.

    Returns:
        The tree, of allowed nodes only.

    Raises:
        TranslationError: With the rule of the first piece of syntax that is not allowed.
    """
    tree = _tree(source)
    _check_size(tree)
    lift(tree)
    private = _private_names(tree)
    for node in _preorder(tree):
        check_node(node, private)
    return tree


def _tree(source: str) -> ast.Module:
    if len(source) > limits.MAX_SOURCE_CHARS:
        raise TranslationError(
            "too-long",
            f"The source has {len(source):,} characters; at most {limits.MAX_SOURCE_CHARS:,} fit.",
            "Write one function of ordinary length.",
        )
    depth = 0
    for number, line in enumerate(source.split("\n"), 1):
        for char in line:
            depth = max(0, depth + (char in "([{") - (char in ")]}"))
            if depth > limits.MAX_DEPTH * 4:
                raise _too_deep(number)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(source)
    except SyntaxError as error:
        what = f"This is not Python: {error.msg}."
        raise TranslationError(
            "syntax", what, "Send one complete function in a Python code block.", error.lineno
        ) from None
    except (RecursionError, MemoryError):
        raise _too_deep(None) from None
    except ValueError as error:
        raise TranslationError(
            "syntax", f"This is not Python: {error}.", "Send plain text without control characters."
        ) from None


def _too_deep(line: int | None) -> TranslationError:
    return TranslationError(
        "too-deep",
        "The source nests brackets, blocks or operators too deeply.",
        "Split the expression into named steps.",
        line,
    )


def _check_size(tree: ast.Module) -> None:
    """Bound the depth and count of nodes without recursion."""
    count, level = 0, [tree]
    for _ in range(limits.MAX_DEPTH):
        below: list[ast.AST] = []
        for node in level:
            below.extend(ast.iter_child_nodes(node))
        count += len(below)
        if count > limits.MAX_NODES:
            raise limits.too_big("The source has too many parts", None)
        if not below:
            return
        level = below  # type: ignore[assignment]
    raise _too_deep(getattr(level[0], "lineno", None))


def _preorder(tree: ast.AST) -> list[ast.AST]:
    """All nodes in the order in which they stand in the text."""
    found, pending = [], [tree]
    while pending:
        node = pending.pop()
        found.append(node)
        pending.extend(reversed(list(ast.iter_child_nodes(node))))
    return found


def _private_names(tree: ast.Module) -> frozenset[str]:
    """Names such as `_scale` that the source itself binds; never `__x__`."""
    bound: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            bound.add(node.name)
        elif isinstance(node, ast.arg):
            bound.add(node.arg)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            bound.add(node.id)
    return frozenset(name for name in bound if name[:1] == "_" and name[:2] != "__")


def check_node(node: ast.AST, private: frozenset[str] = frozenset()) -> None:
    """Refuse a node whose class, name or value is not on the lists.

    Names in `private` may begin with an underscore.
    """
    line = getattr(node, "lineno", None)
    name = type(node).__name__
    if type(node) not in ALLOWED_NODES:
        rule, fix = _FIXES.get(name, ("syntax-not-allowed", "Use plain assignments and calls."))
        raise TranslationError(rule, f"`{_keyword(name)}` is not allowed in a TFCAF.", fix, line)
    match node:
        case ast.FunctionDef():
            _check_definition(node, private)
        case ast.arguments():
            _check_arguments(node)
        case ast.Name(id=identifier):
            _check_name(identifier, line, private=private)
            if isinstance(node.ctx, ast.Load):
                _check_builtin(identifier, line)
        case ast.Attribute(attr=identifier):
            _check_name(identifier, line, "attribute")
            if isinstance(node.ctx, ast.Store):
                raise TranslationError(
                    "attribute-assignment",
                    f"An attribute (`.{identifier}`) is assigned.",
                    "Assign to a variable; arrays and modules have no attributes to set.",
                    line,
                )
        case ast.arg(arg=identifier) | ast.keyword(arg=str() as identifier):
            _check_name(identifier, line, private=private)
        case ast.Constant():
            _check_constant(node)
        case ast.Import() | ast.ImportFrom():
            _check_import(node)
        case ast.With():
            _check_with(node)
        case ast.comprehension(is_async=1):
            raise TranslationError("async", "An async loop is not allowed.", "Use `for`.", line)
        case ast.For(orelse=[first, *_]) | ast.While(orelse=[first, *_]):
            raise TranslationError(
                "for-else", "`else` after a loop is not allowed.", "Drop it.", first.lineno
            )


def _keyword(name: str) -> str:
    words = {"ClassDef": "class", "Delete": "del", "NamedExpr": ":=", "Try": "try"}
    return words.get(name, name.lower())


def is_main_guard(node: ast.AST) -> bool:
    """Whether this is `if __name__ == "__main__":`, or the name in it."""
    if isinstance(node, ast.If):
        node = node.test
    match node:
        case ast.Compare(left=ast.Name(id="__name__"), comparators=[ast.Constant("__main__")]):
            return True
        case _:
            return False


def _check_name(
    name: str, line: int | None, what: str = "name", private: frozenset[str] = frozenset()
) -> None:
    known = name in ("_", "__name__") or name in private or _is_ours(name)
    if name.startswith("_") and not known:
        raise TranslationError(
            "underscore",
            f"The {what} `{name}` begins with an underscore; such names reach Python's internals.",
            f"Call it `{name.strip('_') or 'unused'}`, or leave it out.",
            line,
        )
    if not name.isascii() and not all(char.isidentifier() or char.isalnum() for char in name):
        raise TranslationError(
            "identifier", f"The {what} {name!r} is not plain.", "Use letters a to z.", line
        )


def _is_ours(name: str) -> bool:
    """Whether a name is one of the small helpers that we emit; their text is compared later."""
    return name in HELPERS


def _check_builtin(name: str, line: int | None) -> None:
    if name in _KNOWN_BUILTINS and name not in ALLOWED_BUILTINS and name != "__name__":
        rule = "io" if name in ("open", "input") else "builtin"
        raise TranslationError(
            rule,
            f"The builtin `{name}` is not allowed; a TFCAF only computes with its two arguments.",
            "Use array operations and static Python only.",
            line,
        )


def _check_definition(node: ast.FunctionDef, private: frozenset[str]) -> None:
    _check_name(node.name, node.lineno, private=private)
    for decorator in node.decorator_list:
        text = ast.unparse(decorator)
        if not _is_harmless_decorator(decorator):
            raise TranslationError(
                "decorator",
                f"The decorator `@{text[:60]}` is not allowed.",
                "Only `@jax.jit`, `@torch.no_grad()` and `@torch.jit.script` may stay.",
                decorator.lineno,
            )
    if getattr(node, "type_params", None):
        raise TranslationError(
            "syntax-not-allowed", "Type parameters are not allowed.", "Drop them.", node.lineno
        )


def _is_harmless_decorator(node: ast.expr) -> bool:
    """Whether it only says how to compile, or that no gradient flows; static arguments included."""
    if isinstance(node, ast.Call) and not all(
        (keyword.arg or "").startswith("static_arg") for keyword in node.keywords
    ):
        return False
    if isinstance(node, ast.Call):
        node = ast.Call(node.func, node.args, [])
    return ast.unparse(node).removesuffix("()") in _DECORATORS


def _check_arguments(node: ast.arguments) -> None:
    for default in [*node.defaults, *filter(None, node.kw_defaults)]:
        if not _is_fixed(default):
            raise TranslationError(
                "default",
                "A default is neither a plain literal nor a name.",
                "Use a number, bool, None, a constant's name or a tuple of them.",
                default.lineno,
            )


def _is_fixed(node: ast.AST) -> bool:
    """Whether a default makes nothing that calls could share and change."""
    match node:
        case ast.Constant() | ast.Name():
            return True
        case ast.Attribute(value=inner) | ast.UnaryOp(operand=inner):
            return _is_fixed(inner)
        case ast.BinOp(left=left, right=right) | ast.Subscript(value=left, slice=right):
            return _is_fixed(left) and _is_fixed(right)
        case ast.Tuple(elts=items):
            return all(_is_fixed(item) for item in items)
        case _:
            return False


def _check_constant(node: ast.Constant) -> None:
    value = node.value
    if not isinstance(value, _CONSTANTS):
        raise TranslationError(
            "constant",
            f"A constant of type {type(value).__name__} is not allowed.",
            "Use ints, floats, bools and None.",
            node.lineno,
        )
    if isinstance(value, int) and value.bit_length() > limits.MAX_INT_BITS:
        raise limits.too_big("An integer has too many digits", node.lineno)
    if isinstance(value, str) and len(value) > limits.MAX_STRING_CHARS * 2:
        raise limits.too_big("A string is too long", node.lineno)


def _check_import(node: ast.Import | ast.ImportFrom) -> None:
    names = [item.name for item in node.names]
    asked = names if isinstance(node, ast.Import) else [node.module or "."]
    if isinstance(node, ast.ImportFrom) and node.level:
        asked = ["."]
    for name in asked:
        if name not in MODULES or (isinstance(node, ast.Import) and name == "__future__"):
            raise TranslationError(
                "import",
                f"`import {name}` is not allowed; imports are only recognised, never run.",
                "Use torch, numpy, jax, jax.numpy, math, itertools or functools.",
                node.lineno,
            )
    for item in node.names:
        if item.name == "*":
            raise TranslationError(
                "import", "A star import hides what is used.", "Import by name.", node.lineno
            )
        for name in (item.name.split(".")[-1], item.asname or "x"):
            if name != "__future__":
                _check_name(name, node.lineno)


def _check_with(node: ast.With) -> None:
    for item in node.items:
        text = ast.unparse(item.context_expr)
        if text not in ("torch.no_grad()", "no_grad()", "torch.inference_mode()") or (
            item.optional_vars is not None
        ):
            raise TranslationError(
                "with",
                f"`with {text[:60]}` is not allowed.",
                "Only `with torch.no_grad():` may stay.",
                node.lineno,
            )
