"""A whole source: its imports, constants and functions, and the one function that is wanted.

Module-level names are interpreted only when something reads them. Called by `translate`,
and by the interpreter where a module-level name is read.
"""

from __future__ import annotations

import ast
import dataclasses
import re

from qllm_jax.tfcaf import prelude
from qllm_jax.tfcaf.code import Code
from qllm_jax.tfcaf.comments import Comments
from qllm_jax.tfcaf.contract import TranslationError
from qllm_jax.tfcaf.emit import Body, Define, Note, render
from qllm_jax.tfcaf.grammar import MODULES
from qllm_jax.tfcaf.interpreter import definitions, functions
from qllm_jax.tfcaf.interpreter.names import member
from qllm_jax.tfcaf.interpreter.state import Run
from qllm_jax.tfcaf.values import (
    Array,
    Batch,
    Cell,
    Function,
    Module,
    Sequence,
    Shape,
    Static,
    Value,
    describe,
    format_shape,
)


@dataclasses.dataclass(frozen=True, slots=True)
class Reading:
    """One successful reading of a function.

    Attributes:
        source: The emitted module.
        batched: It was read with a batch axis.
        notes: What a reader should know.
    """

    source: str
    batched: bool
    notes: tuple[str, ...]


def bind_import(run: Run, node: ast.Import | ast.ImportFrom) -> None:
    """Bind the names of an import; nothing is imported."""
    if isinstance(node, ast.ImportFrom):
        for item in node.names:
            if node.module == "__future__":
                continue
            module = MODULES[node.module or ""]
            bound = member(run, f"{module}.{item.name}")
            run.bind(item.asname or item.name, bound)
        return
    for item in node.names:
        if item.asname:
            run.bind(item.asname, Module(MODULES[item.name], Code(item.name)))
        else:
            root = item.name.split(".")[0]
            run.bind(root, Module(root, Code(root)))


def read_function(
    tree: ast.Module,
    entry: ast.FunctionDef,
    dialect: str,
    batched: bool,
    num_agents: int,
    state_dim: int,
    comments: Comments,
    single_row: bool = False,
) -> Reading:
    """Interpret one function of a source with arrays of the contract's shapes.

    `single_row` is for our own output, whose batch has one row: what is over the batch is free.

    Raises:
        TranslationError: What is wrong with it under this reading.
    """
    identifiers = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name)}
    identifiers |= {n.arg for n in ast.walk(tree) if isinstance(n, ast.arg)}
    identifiers |= {n.name for n in ast.walk(tree) if isinstance(n, ast.FunctionDef)}
    run = Run(dialect, identifiers, comments, single_row=single_row)
    _collect(run, tree)
    lead: Shape = (Batch(),) if batched else ()
    names = definitions.parameters(entry)
    shapes = ((*lead, num_agents), (*lead, state_dim))
    args: list[Value] = [
        Array(shape, "float", Code(name), grad=first, cell=Cell(name))
        for name, shape, first in zip(names, shapes, (True, False), strict=False)
    ]
    function = run_entry(run, entry)
    local = functions.bind(run, function.definition, args, {})
    local = {n: functions._as_parameter(run, n, v) for n, v in local.items()}
    result, variant = functions.interpret(run, function.definition, local)
    assert variant is not None
    ending = _check_result(run, entry, result, batched)
    plain = names == ["agent_qs", "state"] and not any(definitions.star_parameters(entry))
    direct = not batched and ending == "" and plain
    inner = variant.name.rstrip("_") if variant.name == "tfcaf_" else variant.name
    if direct and entry.name == "tfcaf":
        variant.name, wrapper = "tfcaf", ""
    else:
        if inner == "tfcaf":
            variant.name = run.fresh("tfcaf_batched" if batched else "tfcaf_unbatched")
        wrapper = _wrapper(variant.name, batched, ending)
    return Reading(_assemble(run, wrapper), batched, tuple(run.notes))


def run_entry(run: Run, entry: ast.FunctionDef) -> Function:
    """The wanted function as a value."""
    value = load_module_name(run, entry.name)
    if not isinstance(value, Function):
        raise run.refuse(
            "no-function", f"`{entry.name}` is assigned again.", "Define the function last."
        )
    return value


def _collect(run: Run, tree: ast.Module) -> None:
    """Bind imports, and remember where every other module-level name is defined."""
    for node in tree.body:
        run.line = node.lineno
        if isinstance(node, ast.Import | ast.ImportFrom):
            bind_import(run, node)
        for name in defined_names(node):
            run.module_nodes[name] = node


def defined_names(node: ast.stmt) -> list[str]:
    """Names that a module-level statement defines."""
    if isinstance(node, ast.FunctionDef):
        return [node.name]
    targets: list[ast.expr] = []
    if isinstance(node, ast.Assign):
        targets = node.targets
    elif isinstance(node, ast.AnnAssign) and node.value is not None:
        targets = [node.target]
    return [n.id for t in targets for n in ast.walk(t) if isinstance(n, ast.Name)]


def load_module_name(run: Run, name: str) -> Value:
    """Interpret the module-level statement that defines a name, once."""
    module = run.module_scope()
    if name in module.values:
        return module.values[name]
    node = run.module_nodes[name]
    if node.lineno in run.loading:
        raise run.refuse("undefined-name", f"`{name}` depends on itself.", "Define it plainly.")
    run.loading.add(node.lineno)
    outer = (run.scope, run.frames, run.line, run.no_grad)
    run.scope, run.frames, run.no_grad = module, [], False
    try:
        with run.capture() as body:
            for text in run.comments.before(node.lineno):
                body.append(Note(text))
            if isinstance(node, ast.FunctionDef):
                _define(run, node, body)
            else:
                body += [Note(None)] if not body else []
                run.execute_one(node)
        run.top[node.lineno] = body
    finally:
        run.scope, run.frames, run.line, run.no_grad = outer
        run.loading.discard(node.lineno)
    return module.values[name]


def _define(run: Run, node: ast.FunctionDef, body: Body) -> None:
    """A module-level function, emitted where it stood."""
    if node.name in prelude.HELPERS:
        if not prelude.is_helper(node):
            raise TranslationError(
                "underscore",
                f"`{node.name}` is the name of a helper that the output may carry.",
                f"Call it `{node.name.strip('_') or 'helper'}`.",
                node.lineno,
            )
        run.ours.add(node.name)
        body.clear()
    place = Define([], list(body))
    body.clear()
    run.functions[id(place)] = place
    if node.name not in run.ours:
        body.append(place)
    run.bind(node.name, definitions.make_function(run, node, node.name, place))


def _check_result(run: Run, entry: ast.FunctionDef, result: Value, batched: bool) -> str:
    """How q_tot is taken out of what the function returns.

    Raises:
        TranslationError: Rules "result-shape", "result-dtype", "result-type".
    """
    run.line = next(
        (n.lineno for n in reversed(list(ast.walk(entry))) if isinstance(n, ast.Return)),
        entry.lineno,
    )
    expected = "(B, 1) or (B,)" if batched else "() or (1,)"
    if isinstance(result, Static | Sequence) or not isinstance(result, Array):
        raise run.refuse(
            "result-type",
            f"The function returns {describe(result)}; expected an array of shape {expected}.",
            "Return one q_tot per row, computed from agent_qs.",
        )
    fits: dict[Shape, str] = (
        {(Batch(), 1): "[0, 0]", (Batch(),): "[0]"} if batched else {(): "", (1,): "[0]"}
    )
    if result.shape not in fits or (result.row_any and not run.single_row):
        raise run.refuse(
            "result-shape",
            f"The function returns shape {format_shape(result.shape)}; expected {expected}, "
            "one q_tot per row.",
            "Sum over the agent axis.",
        )
    if result.dtype != "float":
        raise run.refuse(
            "result-dtype",
            f"The function returns {result.dtype} values; credit needs a float.",
            "Return a float computed from agent_qs.",
        )
    return fits[result.shape]


def _wrapper(inner: str, batched: bool, ending: str) -> str:
    """The canonical function around one of another shape or name."""
    rows = "[None]" if batched else ""
    return (
        "def tfcaf(agent_qs, state):\n"
        '    """Mix the agents\' values [N] in the global state [D] into q_tot []."""\n'
        f"    return {inner}(agent_qs{rows}, state{rows}){ending}"
    )


def wrapped_entry(tree: ast.Module) -> tuple[str, bool] | None:
    """The function inside our own wrapper, and whether it is batched; None where there is none."""
    last = tree.body[-1] if tree.body else None
    if not isinstance(last, ast.FunctionDef) or last.name != "tfcaf":
        return None
    for node in tree.body[:-1]:
        if isinstance(node, ast.FunctionDef):
            for batched, endings in ((True, ("[0, 0]", "[0]")), (False, ("", "[0]"))):
                for ending in endings:
                    text = _wrapper(node.name, batched, ending)
                    if ast.dump(ast.parse(text).body[0]) == ast.dump(last):
                        return node.name, batched
    return None


def _lines_in_use(run: Run) -> list[int]:
    """Module-level lines whose names the emitted text reads; folded constants are left out."""
    texts = {line: "\n".join(render(body)) for line, body in run.top.items()}
    nodes = {node.lineno: node for node in run.module_nodes.values()}
    while True:
        unused = []
        for line in list(texts):
            node = nodes.get(line)
            if not isinstance(node, ast.Assign | ast.AnnAssign):
                continue
            rest = "\n".join(other for at, other in texts.items() if at != line)
            names = _bound_names(texts[line])  # those of functions that a factory made, too
            if not any(re.search(rf"\b{re.escape(name)}\b", rest) for name in names):
                unused.append(line)
        if not unused:
            return sorted(texts)
        for line in unused:
            del texts[line]


def _bound_names(text: str) -> list[str]:
    """The names that emitted lines of the module bind."""
    names = []
    for node in ast.parse(text).body:
        if isinstance(node, ast.FunctionDef):
            names.append(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            stored = [n for n in ast.walk(node) if isinstance(n, ast.Name)]
            names += [n.id for n in stored if isinstance(n.ctx, ast.Store)]
    return names


def _assemble(run: Run, wrapper: str) -> str:
    """The emitted module: imports, helpers, what the author defined, the canonical function."""
    parts: list[str] = []
    for line in _lines_in_use(run):
        text = "\n".join(render(run.top[line])).strip("\n")
        parts += [text] if text else []
    used = {name for name in run.helpers if any(f"{name}(" in part for part in parts)}
    parts = [prelude.HELPERS[name] for name in prelude.with_dependencies(used)] + parts
    parts += [wrapper] if wrapper else []
    text, before = "", False
    for part in parts:
        is_block = part.startswith("def ") or "\ndef " in part
        gap = "\n\n" if is_block or before else "" if text else "\n"
        text += f"{gap}{part}\n"
        before = is_block
    imports = "import jax.numpy as jnp\n"
    if "jax." in text.replace("jax.numpy", ""):
        imports = "import jax\n" + imports
    return imports + text
