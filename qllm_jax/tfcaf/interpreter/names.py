"""How names and attributes are looked up: in scopes, in the tables of operations, never in modules.

What reaches files, processes, callbacks or memory is refused by name. Fills `state.EXPRESSIONS`.
"""

from __future__ import annotations

import ast
import math

from qllm_jax.tfcaf import code as c
from qllm_jax.tfcaf.code import Code, words
from qllm_jax.tfcaf.grammar import ALLOWED_BUILTINS, MODULES
from qllm_jax.tfcaf.interpreter import standard_library
from qllm_jax.tfcaf.interpreter.forms import item_of, named
from qllm_jax.tfcaf.interpreter.state import Run, expression
from qllm_jax.tfcaf.lifting import origin
from qllm_jax.tfcaf.ops import registry
from qllm_jax.tfcaf.values import (
    Array,
    AtIndex,
    Batch,
    Builtin,
    Dropped,
    DType,
    Function,
    Mapping,
    Method,
    Module,
    Operation,
    Sequence,
    Static,
    Value,
    describe,
)

_MATH_CONSTANTS = {"pi": math.pi, "e": math.e, "inf": math.inf, "nan": math.nan, "tau": math.tau}
USUAL_ALIASES = {
    "torch": "torch",
    "nn": "torch.nn",
    "F": "torch.nn.functional",
    "np": "numpy",
    "numpy": "numpy",
    "jnp": "jax.numpy",
    "jax": "jax",
    "lax": "jax.lax",
    "math": "math",
    "Tensor": "typing",
    "vmap": "jax.vmap",
}


@expression(ast.Name)
def _name(run: Run, node: ast.Name) -> Value:
    found = run.find(node.id)
    if found is not None:
        from qllm_jax.tfcaf.interpreter.branches import guarded

        return guarded(run, node.id, *found)
    if node.id in run.module_nodes:
        from qllm_jax.tfcaf.interpreter.program import load_module_name

        return load_module_name(run, node.id)
    if node.id in ALLOWED_BUILTINS:
        return Builtin(node.id, Code(node.id))
    if node.id in USUAL_ALIASES:
        return member(run, USUAL_ALIASES[node.id])
    raise run.refuse(
        "undefined-name",
        f"`{node.id}` is not defined.",
        "Define it in the function, or pass constants in the same code block.",
    )


def member(run: Run, path: str) -> Value:
    """What a dotted path of an allowed module names."""
    if path in MODULES:
        return Module(MODULES[path], Code(path))
    module, _, last = path.rpartition(".")
    if module == "math":
        if last in _MATH_CONSTANTS:
            return Static(_MATH_CONSTANTS[last], _math_code(last))
        return Builtin(path, Code(path))
    if path.split(".")[0] in standard_library.MODULES:
        if path not in standard_library.LIBRARY:
            raise run.refuse(
                "unknown-operation",
                f"`{path}` is not an operation we know.",
                f"Known are: {', '.join(standard_library.known(path.split('.')[0]))}.",
            )
        return Builtin(path, Code(path))
    if module == "typing" or path in ("torch.Tensor", "torch.nn.Module", "typing"):
        return Dropped(f"the type {last or path}")
    constant = registry.lookup_constant(path)
    if constant is not None:
        number = isinstance(constant, Static) and isinstance(constant.value, float)
        if number and last in ("pi", "e", "inf", "nan"):
            return named(constant, Code(f"jnp.{last}"))
        return constant
    root = path.split(".")[0]
    dialect = {"jax": "jnp", "scipy": "numpy"}.get(root, root)
    operation = registry.lookup(dialect, path)
    if operation is None:
        refuse_dangerous(run, path)
        raise registry.unknown(dialect, path, run.line)
    return Operation(operation, Code(path))


def _math_code(name: str) -> Code:
    return Code(f"jnp.{name}") if name != "tau" else c.literal(math.tau)


DANGEROUS = {
    **dict.fromkeys(
        words(
            "load save fromfile tofile loadtxt genfromtxt savetxt memmap from_file hub os sys "
            "ctypes builtins ctypeslib f2py ffi importlib subprocess savez fromregex "
            "open_memmap multiprocessing utils serialization distributed cpp_extension "
            "package jit_load"
        ),
        "io",
    ),
    **dict.fromkeys(
        words(
            "pure_callback io_callback callback debug frompyfunc vectorize_callback "
            "host_callback experimental apply_ map_ register_hook custom_vjp custom_jvp"
        ),
        "callback",
    ),
    **dict.fromkeys(
        words(
            "rand randn randint random randperm normal bernoulli multinomial dropout "
            "rand_like randn_like randint_like manual_seed seed uniform choice poisson "
            "default_rng key PRNGKey bernoulli_ normal_ uniform_ dropout2d alpha_dropout "
            "gumbel_softmax rrelu exponential_ random_"
        ),
        "random",
    ),
    **dict.fromkeys(
        words(
            "Linear Parameter Module Sequential Embedding LayerNorm BatchNorm1d GRUCell LSTM "
            "Conv1d Conv2d MultiheadAttention ModuleList GRU RNN init Bilinear Dropout"
        ),
        "learnable",
    ),
    **dict.fromkeys(
        words(
            "backward requires_grad_ grad autograd retain_grad register_parameter "
            "value_and_grad jacobian optim"
        ),
        "autograd",
    ),
    "while_loop": "while",
    **dict.fromkeys(
        words(
            "ctypes storage untyped_storage data_ptr unsafe_buffer_pointer dump tobytes "
            "tolist_file share_memory_ set_ data"
        ),
        "memory",
    ),
}
WHY = {
    "io": ("reaches files, processes or the system", "Compute with the two arguments only."),
    "callback": ("calls back into Python", "Use array operations."),
    "random": ("is random; q_tot must be a function of its arguments", "Leave it out."),
    "learnable": ("has learned parameters; a TFCAF has none", "Use fixed weights or attention."),
    "autograd": ("takes gradients; the learner does that", "Return q_tot and leave it out."),
    "while": ("loops until the data says stop", "Use a loop over a fixed range."),
    "memory": ("reaches an array's memory", "Use the array itself."),
}


def refuse_dangerous(run: Run, path: str) -> None:
    """Refuse names that reach outside of arithmetic, by what is wrong with them."""
    for part in path.lstrip(".@").split("."):
        if part in DANGEROUS:
            rule = DANGEROUS[part]
            why, fix = WHY[rule]
            raise run.refuse(rule, f"`{path.lstrip('@')}` {why}.", fix)


@expression(ast.Attribute)
def _attribute(run: Run, node: ast.Attribute) -> Value:
    owner = run.evaluate(node.value)
    return attribute_of(run, owner, node.attr)


def attribute_of(run: Run, owner: Value, name: str) -> Value:
    """`owner.name`, from tables only."""
    match owner:
        case Module():
            return member(run, f"{owner.path}.{name}")
        case Array():
            return _array_attribute(run, owner, name)
        case Function() if _of_class(run, owner, name):
            from qllm_jax.tfcaf.interpreter.program import load_module_name

            return load_module_name(run, f"{owner.code.text}_{name}")
        case Sequence(names=names) if name in names:
            return item_of(owner, names.index(name))
        case Sequence(owner=kind) if kind and _is_property(run, f"{kind}_{name}"):
            from qllm_jax.tfcaf.interpreter.calls import call_object

            return call_object(run, owner, name, [], {})
        case Sequence() | Mapping():
            return Method(owner, name, c.attribute(owner.code, name))
        case AtIndex():
            return Method(owner, name, c.attribute(owner.code, name))
        case Operation():
            return member(run, f"{owner.op.name}.{name}")
        case Builtin() if owner.name in standard_library.LIBRARY:
            return member(run, f"{owner.name}.{name}")
        case Dropped() | DType():
            refuse_dangerous(run, name)
            return Dropped(f"`.{name}` of {describe(owner)}")
        case Static(value=int() | float() | Batch()) if name in ("item", "bit_length", "real"):
            return Method(owner, name, owner.code)
    refuse_dangerous(run, name)
    raise run.refuse(
        "attribute",
        f"`.{name}` of {describe(owner)} is not known.",
        "Use arrays, their shapes and the functions of torch, numpy or jax.numpy.",
    )


def _of_class(run: Run, owner: Function, name: str) -> bool:
    """Whether a function makes objects of a class that the source gave that member."""
    made = origin(owner.definition.node)
    is_object = made is not None and made.kind == "object"
    return is_object and f"{owner.code.text}_{name}" in run.module_nodes


def _is_property(run: Run, name: str) -> bool:
    """Whether a method of a class of the source is read like an attribute."""
    made = origin(run.module_nodes[name]) if name in run.module_nodes else None
    return made is not None and made.kind == "property"


def _array_attribute(run: Run, owner: Array, name: str) -> Value:
    key = f"@{name}"
    operation = registry.lookup(run.dialect, key)
    if operation is not None:
        return operation.handler(run.context(key), owner)
    if (
        registry.lookup(run.dialect, f".{name}") is None
        and not _in_place(run, name)
        and name != "at"
    ):
        refuse_dangerous(run, name)
        raise registry.unknown(run.dialect, f".{name}", run.line)
    return Method(owner, name, c.attribute(owner.code, name))


def _in_place(run: Run, name: str) -> bool:
    return (
        run.dialect == "torch"
        and name.endswith("_")
        and registry.lookup("torch", f".{name[:-1]}") is not None
    )
