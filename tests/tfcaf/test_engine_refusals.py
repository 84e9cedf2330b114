# ruff: noqa: E501
"""What is refused, by which rule, and how quickly; nothing that is refused has run."""

import ast
import time
import tracemalloc

import pytest

from qllm_jax.tfcaf import TranslationError, grammar, translate
from qllm_jax.tfcaf.ops import registry


def refusal(text, num_agents=3, state_dim=12):
    """The error of a refused text."""
    with pytest.raises(TranslationError) as refused:
        translate(text, num_agents, state_dim)
    error = refused.value
    assert error.message
    assert error.fix
    assert str(error).startswith(f"[{error.rule}]")
    return error


SNIPPETS = {  # one statement for each node class outside of the grammar
    "AsyncFor": "async def g():\n        async for a in q:\n            pass",
    "AsyncFunctionDef": "async def g():\n        pass",
    "AsyncWith": "async def g():\n        async with a:\n            pass",
    "Await": "async def g():\n        await a",
    "ClassDef": "class A:\n        pass",
    "Delete": "del q",
    "Global": "global q2",
    "Match": "match q:\n        case 1:\n            pass",
    "NamedExpr": "w = [(z := i) for i in range(2)]",
    "Nonlocal": "def g():\n        nonlocal q",
    "SetComp": "w = {1 for a in range(2)}",
    "Try": "try:\n        w = 1\n    except ValueError:\n        pass",
    "TryStar": "try:\n        w = 1\n    except* ValueError:\n        pass",
    "Yield": "yield q",
    "YieldFrom": "yield from q",
}
# Classes that stand only inside another one, abstract ones, and what the parser never makes.
_INNER = {
    *("AST", "mod", "stmt", "expr", "expr_context", "boolop", "operator", "unaryop", "cmpop"),
    *("excepthandler", "pattern", "type_ignore", "type_param", "slice", "ExceptHandler"),
    *("Expression", "FunctionType", "Interactive", "Suite", "Param", "AugLoad", "AugStore"),
    *("Del", "TypeIgnore", "match_case", "MatchAs", "MatchClass", "MatchMapping", "MatchOr"),
    *("MatchSequence", "MatchSingleton", "MatchStar", "MatchValue"),
    *("TypeAlias", "TypeVar", "ParamSpec", "TypeVarTuple", "TemplateStr", "Interpolation"),
}


def _outside():
    classes = [c for c in vars(ast).values() if isinstance(c, type) and issubclass(c, ast.AST)]
    old = {"Num", "Str", "Bytes", "NameConstant", "Ellipsis", "Index", "ExtSlice"}  # of Python 3.7
    return {c.__name__ for c in classes} - {c.__name__ for c in grammar.ALLOWED_NODES} - old


def test_every_node_class_is_allowed_refused_here_or_inside_another():
    assert _outside() - _INNER == set(SNIPPETS)


@pytest.mark.parametrize("name", sorted(_outside()))
def test_a_node_outside_of_the_grammar_is_refused_wherever_it_came_from(name):
    node = getattr(ast, name)()
    with pytest.raises(TranslationError):
        grammar.check_node(node)


@pytest.mark.parametrize("name", sorted(SNIPPETS))
def test_syntax_outside_of_the_grammar_is_refused(name):
    text = f"```python\ndef f(q, s):\n    {SNIPPETS[name]}\n    return q.sum(-1)\n```"
    assert refusal(text).rule not in ("no-function", "syntax")


RULES = {
    "import": "import os\ndef f(q, s):\n    return q.sum(-1)",
    "underscore": "def f(q, s):\n    return q.__class__",
    "decorator": "@print\ndef f(q, s):\n    return q.sum(-1)",
    "default": "def f(q, s, k=[]):\n    return q.sum(-1)",
    "star-arguments": "import torch\ndef f(q, s):\n    return torch.stack([*q], 0).sum(-1)",
    "with": "def f(q, s):\n    with s:\n        return q.sum(-1)",
    "builtin": "def f(q, s):\n    return eval('q')",
    "io": "def f(q, s):\n    open('x')\n    return q.sum(-1)",
    "constant": "def f(q, s):\n    return q.sum(-1) * 1j",
    "attribute-assignment": "def f(q, s):\n    q.x = 1\n    return q.sum(-1)",
    "for-else": "def f(q, s):\n    for i in range(2):\n        pass\n    else:\n        pass\n    return q",
    "string": "def f(q, s):\n    a = 'a' + 'b'\n    b = f'{3:{4}}'\n    return q.sum(-1)",
    "undefined-name": "def f(q, s):\n    return w * q",
    "recursion": "def g(x):\n    return g(x)\ndef f(q, s):\n    return g(q)",
    "mixed-dialect": "import torch\nimport numpy as np\ndef f(q, s):\n    w = torch.exp(s)\n    return np.sum(q, -1)",
    "immutable": "import jax.numpy as jnp\ndef f(q, s):\n    q[0] = 1.0\n    return jnp.sum(q)",
    "aliasing": (
        "import torch\ndef g(x):\n    x += 1\ndef f(q, s):\n    w = q * 1\n    g(w)\n"
        "    return w.sum(-1)"
    ),
    "ambiguous-condition": "def f(q, s):\n    if s[:, 0] > 0:\n        q = q * 2\n    return q.sum(-1)",
    "branch-types": (
        "def f(q, s):\n    w = q\n    if (s > 0).any():\n        w = q.sum(-1)\n    return w"
    ),
    "data-loop-exit": (
        "def f(q, s):\n    for i in range(3):\n        if (s[:, i] > 0).all():\n            break\n"
        "    return q.sum(-1)"
    ),
    "dynamic-loop": (
        "import jax.numpy as jnp\ndef f(q, s):\n    for i in range(jnp.argmax(s)):\n        pass\n"
        "    return jnp.sum(q)"
    ),
    "dynamic-shape": "def f(q, s):\n    w = q[s[:, :3] > 0]\n    return w.view(-1, 1)",
    "result-shape": "def f(q, s):\n    return q * 2",
    "result-type": "def f(q, s):\n    return 3.0",
    "result-dtype": "def f(q, s):\n    return q.argmax(-1)",
    "assert": "def f(q, s):\n    assert q.shape[1] == 9\n    return q.sum(-1)",
    "raise": "def f(q, s):\n    raise ValueError('no')",
    "index-range": "def f(q, s):\n    return q[:, 3]",
    "unpack": "def f(q, s):\n    a, b, c = q.shape\n    return q.sum(-1)",
    "static-error": "def f(q, s):\n    return q.sum(-1) * (1 / 0)",
    "uninitialised": "import torch\ndef f(q, s):\n    return (q * torch.empty(3)).sum(-1)",
    "global": "seen = []\ndef f(q, s):\n    seen.append(q)\n    return q.sum(-1)",
    "math-on-array": "import math\ndef f(q, s):\n    return q.sum(-1) * math.exp(s.sum(-1))",
    "no-function": "def f(q):\n    return q",
    "too-deep": "def f(q, s):\n    return " + "-" * 90 + "q.sum(-1)",
    "dtype": "def f(q, s):\n    w = (s[:, :3] > 0).long()\n    w += 0.5\n    return (w * q).sum(-1)",
}


@pytest.mark.parametrize("rule", sorted(RULES))
def test_each_rule_refuses_what_it_is_meant_for(rule):
    assert refusal(f"```python\n{RULES[rule]}\n```").rule == rule


BATCH = {
    "total": "q.sum()",
    "mean-row": "(q - q.mean(0)).sum(-1)",
    "softmax": "(q * torch.softmax(q, 0)).sum(-1)",
    "one-row": "q.sum(-1) * s[0, 0]",
    "size": "q.sum(-1) / q.shape[0]",
    "transposed": "(q * s[:, :3].t().reshape(-1, 3)).sum(-1)",
    "outer": "(q @ s[:, :3].T).sum(-1)",
    "any-as-value": "q.sum(-1) * (s > 0).any().float()",
    "flip": "q.flip(0).sum(-1)",
}


@pytest.mark.parametrize("name", sorted(BATCH))
def test_what_mixes_the_rows_of_a_batch_is_refused(name):
    text = f"import torch\ndef f(q, s):\n    # [B, N], [B, D]\n    return {BATCH[name]}\n"
    assert refusal(text).rule == "mixes-batch"


@pytest.mark.parametrize(
    "body",
    [
        "total = 0\n    for b in range(q.shape[0]):\n        total = total + q[b].sum()\n    return total",
        "w = q * 0\n    for b in range(q.shape[0]):\n        w[b] = q[b - 1]\n    return w.sum(-1)",
        "x = q[:, 0]\n    for b in range(q.shape[0]):\n        x = q[b] * 2\n    return x",
        "p = []\n    for b in range(q.shape[0]):\n        p.append(q[b])\n        p.append(q[b])\n"
        "    return torch.stack(p).sum(-1)",
        "w = torch.zeros_like(q)\n    for b in range(1, q.shape[0]):\n        w[b] = q[b]\n"
        "    return w.sum(-1)",
    ],
)
def test_a_loop_over_the_batch_cannot_carry_one_row_to_the_next(body):
    error = refusal(f"import torch\ndef f(q, s):\n    {body}\n")
    assert error.rule in ("mixes-batch", "aliasing", "result-shape")


BOMBS = {
    "brackets": "def f(q, s):\n    return " + "(" * 5_000 + "q" + ")" * 5_000,
    "minus": "def f(q, s):\n    return " + "-" * 50_000 + "q",
    "plus": "def f(q, s):\n    return " + "q + " * 12_000 + "q",
    "attributes": "def f(q, s):\n    return q" + ".T" * 20_000,
    "blocks": "def f(q, s):\n" + "".join(" " * i + "if q:\n" for i in range(1, 90)),
    "power": "def f(q, s):\n    a = 9 ** 9 ** 9\n    return q.sum(-1) * a",
    "shift": "def f(q, s):\n    a = 1 << (1 << 40)\n    return q.sum(-1) * a",
    "digits": "def f(q, s):\n    return q.sum(-1) * " + "9" * 4_000,
    "range": "def f(q, s):\n    for i in range(10 ** 12):\n        q = q + 1\n    return q.sum(-1)",
    "nested": "def f(q, s):\n" + "".join(
        " " * (4 * i + 4) + f"for i{i} in range(60):\n" for i in range(6)
    ) + " " * 28 + "q = q * 1\n    return q.sum(-1)",
    "calls": "def g0(x):\n    return x\n" + "".join(
        f"def g{i}(x):\n    return g{i - 1}(x) + g{i - 1}(x)\n" for i in range(1, 40)
    ) + "def f(q, s):\n    return g39(q).sum(-1)",
    "wide-calls": "def g0(x):\n    return x\n" + "".join(
        f"def g{i}(x):\n    return " + " + ".join([f"g{i - 1}(x)"] * 9) + "\n" for i in range(1, 9)
    ) + "def f(q, s):\n    return g8(q).sum(-1)",
    "list": "def f(q, s):\n    a = [0] * 10 ** 9\n    return q.sum(-1) * len(a)",
    "doubling": "def f(q, s):\n    a = [q]\n" + "    a = a + a\n" * 40 + "    return q.sum(-1)",
    "laughs": "def f(q, s):\n    a = [1, 1, 1, 1, 1, 1, 1, 1]\n" + "    a = [a, a, a, a, a, a, a, a]\n" * 30
    + "    return q.sum(-1)",
    "string": "def f(q, s):\n    return q.sum(-1) * len('" + "a" * 50_000 + "')",
    "array": "import torch\ndef f(q, s):\n    return (q * torch.zeros(10 ** 6, 10 ** 6).sum()).sum(-1)",
    "growing-array": "import torch\ndef f(q, s):\n    x = q\n" + "    x = torch.cat([x, x], -1)\n" * 60
    + "    return x.sum(-1)",
    "lambdas": "def f(q, s):\n    a = lambda x: x + x\n" + "".join(
        f"    a{i} = lambda x: {'a' if i == 0 else f'a{i - 1}'}({'a' if i == 0 else f'a{i - 1}'}(x))\n"
        for i in range(30)
    ) + "    return a29(q).sum(-1)",
    "comprehension": "def f(q, s):\n    return sum(q[:, 0] for a in range(4000) for b in range(4000))",
    "dicts": "def f(q, s):\n    d = {i: {j: i for j in range(4000)} for i in range(4000)}\n    return q.sum(-1)",
    "long": "def f(q, s):\n" + "    q = q + 1\n" * 30_000 + "    return q.sum(-1)",
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(BOMBS))
def test_hostile_sizes_are_refused_soon_and_in_little_memory(name):
    tracemalloc.start()
    start = time.process_time()
    try:
        error = refusal(BOMBS[name])
    finally:
        seconds = time.process_time() - start
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert error.rule in ("too-big", "too-deep", "too-long", "syntax", "no-function")
    assert seconds < 8  # under tracemalloc, which slows it down several times
    assert peak < 200e6


def test_a_typical_function_is_translated_quickly():
    text = (
        "import torch\ndef mix(q, s):\n    w = []\n    for i in range(5):\n        a = s[:, i * 4 : i * 4 + 2]\n"
        "        w.append(torch.exp(-torch.norm(a, dim=-1)))\n    w = torch.softmax(torch.stack(w, 1), 1)\n"
        "    return (w * q).sum(1, keepdim=True)\n"
    )  # fmt: skip
    translate(text, 5, 20)
    seconds = []
    for _ in range(5):
        start = time.process_time()
        translate(text, 5, 20)
        seconds.append(time.process_time() - start)
    assert min(seconds) < 0.05


def test_the_registry_is_as_large_as_the_vocabulary():
    dialects = [operation.dialect for operation in registry.all_ops()]
    assert all(dialects.count(dialect) > 250 for dialect in ("torch", "numpy", "jnp"))


def test_the_nearest_operation_is_named():
    error = refusal("import torch\ndef f(q, s):\n    return torch.clampp(q, 0).sum(-1)\n")
    assert error.rule == "unknown-operation"
    assert "torch.clamp" in error.fix
    assert error.line == 3


def test_a_list_of_the_module_is_not_popped():
    source = (
        "import torch\nW = [1.0, 2.0]\n"
        "def f(q, s):\n    w = W.pop()\n    return (w * q).sum(-1, keepdim=True)\n"
    )
    assert refusal(source).rule == refusal(source.replace("W.pop()", "W.append(1.0)")).rule


def test_the_refusal_is_of_the_function_and_not_of_an_example_beside_it():
    function = "import torch\ndef f(agent_qs, state):\n    return torch.rand(3).sum()\n"
    text = f"```python\n{function}```\nUse it so:\n```python\nprint(f(q, s))\n```\n"
    assert refusal(text).rule == refusal(function).rule


@pytest.mark.parametrize(
    ("result", "rule"),
    [
        ("q[:, 0] * np.size(q)", "mixes-batch"),
        ("q[:, 0] * s[:, 0].item()", "mixes-batch"),
        ("q[:, 0] * q.nbytes", "unknown-operation"),
    ],
)
def test_what_numpy_says_of_a_whole_batch_is_refused(result, rule):
    text = f"import numpy as np\ndef f(q, s):\n    return {result}"
    assert refusal(text).rule == rule


@pytest.mark.parametrize("call", ["set(1.0, mode='clip')", "get(mode='fill', fill_value=0.0)"])
def test_what_an_index_beyond_the_axis_means_is_not_chosen_by_a_mode(call):
    text = f"import jax.numpy as jnp\ndef f(q, s):\n    return jnp.sum(q.at[0].{call})"
    assert refusal(text).rule == "argument"


def test_a_change_to_what_einsum_shows_is_not_lost():
    text = """import numpy as np
def f(agent_qs, state):
    d = state[:, :9].reshape(len(state), 3, 3) * 1.0
    np.einsum('bii->bi', d)[...] = 9.0
    return (agent_qs * d.min(axis=2)).sum(axis=1)
"""
    assert refusal(text).rule == "aliasing"


@pytest.mark.parametrize("view", ["x.unfold(1, 2, 2)", "x.diagonal(1, 1, 2)"])
def test_a_change_to_a_view_that_cannot_be_said_is_not_lost(view):
    text = f"""import torch
def f(q, s):
    x = s.view(s.shape[0], 3, 4) * q.unsqueeze(-1)
    {view}.fill_(7.0)
    return x.sum((1, 2))
"""
    assert refusal(text).rule == "aliasing"


def test_a_change_to_the_samples_of_a_loop_is_not_lost():
    text = "import torch\ndef f(q, s):\n    w = s[:, :3] * 1\n    for row in w:\n        row /= row.sum()\n    return (w * q).sum(1)"
    assert refusal(text).rule == "aliasing"


def test_a_method_of_the_type_itself_is_not_lost():
    text = "import torch\ndef f(q, s):\n    w = q * 1\n    torch.Tensor.fill_(w, 7.0)\n    return w.sum(1)"
    assert refusal(text).rule == "type"
