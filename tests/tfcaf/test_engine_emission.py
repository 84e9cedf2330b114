"""What the translator writes: names, comments, loops and helpers as the author had them."""

import ast
import io
import tokenize

import pytest
import tfcaf_torch_bodies as bodies

from qllm_jax.tfcaf import translate


def emitted(text, num_agents=3, state_dim=12):
    """The source of a translation, checked to be stable under a second one."""
    source = translate(text, num_agents, state_dim).source
    assert translate(source, num_agents, state_dim).source == source
    return source


@pytest.mark.parametrize("name", sorted(bodies.BODIES))
def test_source_is_stable_standalone_and_short_of_width(name):
    source = emitted(bodies.source(name))
    tree = ast.parse(source)
    assert max(map(len, source.split("\n"))) <= 100
    assert not any(line != line.rstrip() for line in source.split("\n"))
    imports = {ast.unparse(n) for n in ast.walk(tree) if isinstance(n, ast.Import | ast.ImportFrom)}
    assert imports <= {"import jax", "import jax.numpy as jnp"}
    assert ("import jax" in imports) == ("jax." in source.replace("import jax.numpy", ""))
    last = tree.body[-1]
    assert isinstance(last, ast.FunctionDef)
    assert (last.name, [a.arg for a in last.args.args]) == ("tfcaf", ["agent_qs", "state"])


TYPICAL = '''
import torch

STRIDE = 4  # features of an agent


def closeness(state, i, j):
    """How near two agents are."""
    apart = state[:, i * STRIDE : i * STRIDE + 2] - state[:, j * STRIDE : j * STRIDE + 2]
    return torch.exp(-torch.norm(apart, dim=-1))  # in (0, 1]


def mix(agent_qs, global_state):
    """Weigh agents by how near they are to others.

    Returns [B, 1].
    """
    batch_size, n_agents = agent_qs.shape

    # Pairs of agents
    weights = []
    for i in range(n_agents):
        near = 0.0
        for j in range(n_agents):
            if i == j:
                continue  # not with itself
            near = near + closeness(global_state, i, j)
        weights.append(near)

    # Normalise, then sum
    weights = torch.softmax(torch.stack(weights, dim=1), dim=1)
    return (weights * agent_qs).sum(dim=1, keepdim=True)
'''

EXPECTED = '''import jax
import jax.numpy as jnp

STRIDE = 4  # features of an agent


def closeness(state, i, j):
    """How near two agents are."""
    apart = state[:, i * STRIDE:i * STRIDE + 2] - state[:, j * STRIDE:j * STRIDE + 2]
    return jnp.exp(-jnp.sqrt(jnp.sum(jnp.square(apart), axis=-1)))  # in (0, 1]


def mix(agent_qs, global_state):
    """Weigh agents by how near they are to others.

    Returns [B, 1].
    """
    batch_size, n_agents = agent_qs.shape

    # Pairs of agents
    weights = []
    for i in range(n_agents):
        near = 0.0
        for j in range(n_agents):
            if i == j:
                continue  # not with itself
            near = near + closeness(global_state, i, j)
        weights.append(near)

    # Normalise, then sum
    weights = jax.nn.softmax(jnp.stack(weights, axis=1), axis=1)
    return (weights * agent_qs).sum(axis=1, keepdims=True)


def tfcaf(agent_qs, state):
    """Mix the agents' values [N] in the global state [D] into q_tot []."""
    return mix(agent_qs[None], state[None])[0, 0]
'''


def test_a_typical_function_can_be_laid_beside_the_original():
    assert emitted(TYPICAL) == EXPECTED


def test_a_loop_that_needs_other_text_each_time_is_unrolled():
    text = """
def mix(agent_qs, state):
    total = agent_qs * 0.0
    for part in (agent_qs, agent_qs.sum(dim=1, keepdim=True)):
        total = total + part.squeeze(1)[:, None] if part.shape[1] == 1 else total + part
    return total.sum(1)
"""
    source = emitted(text)
    assert "for part in" not in source
    assert source.count("# part = ") == 2


def test_a_helper_whose_calls_differ_is_written_once_for_each():
    source = emitted(bodies.source("helper-ranks"))
    assert source.count("def total") == 1
    text = """
import torch

def reduced(x):
    return x.squeeze(1)

def mix(agent_qs, state):
    return (reduced(agent_qs) * reduced(state[:, :1])[:, None] if False else
            reduced(agent_qs) + reduced(state[:, :1]).unsqueeze(1)).sum(1)
"""
    source = emitted(text)
    assert "def reduced(x)" in source
    assert "def reduced_2(x)" in source


def test_an_unused_helper_and_an_unused_constant_are_left_out():
    source = emitted("A = 3\ndef unused(x):\n    return x\ndef mix(q, s):\n    return q.sum(-1)\n")
    assert "unused" not in source
    assert "A = 3" not in source


def test_names_that_would_shadow_are_changed_and_greek_is_spelled_out():
    text = "def mix(q, s):\n    sum = q * 2\n    jnp = sum + 1\n    α = 0.5\n"
    text += "    return (α * jnp).sum(-1)\n"
    source = emitted(text)
    assert "sum_ = q * 2" in source
    assert "jnp_ = sum_ + 1" in source
    assert "alpha = 0.5" in source


def test_a_function_called_tfcaf_keeps_room_for_the_canonical_one():
    source = emitted("def tfcaf(q, s):\n    return q.sum(dim=1)\n")
    assert "def tfcaf_batched(q, s):" in source
    assert source.rstrip().endswith("return tfcaf_batched(agent_qs[None], state[None])[0]")
    plain = (
        "import jax.numpy as jnp\n\n\ndef tfcaf(agent_qs, state):\n    return jnp.sum(agent_qs)\n"
    )
    assert emitted(plain) == plain


def test_comments_stay_and_cannot_hide_text():
    text = (
        "def mix(q, s):\n    # über die Agenten: 求和\n    w = q * 2  # twice\u202e\n"
        "    return w.sum(-1)  # over agents\n"
    )
    source = emitted(text)
    assert "# über die Agenten: 求和" in source
    assert "\u202e" not in source
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    assert sum(t.type == tokenize.COMMENT for t in tokens) == 3


def test_long_lines_are_broken_at_brackets_and_operators():
    name = "a_rather_long_variable_name_for_one_thing"
    terms = " + ".join(f"{name} * {i}.5" for i in range(6))
    source = emitted(f"def mix(q, s):\n    {name} = q * 2\n    w = {terms}\n    return w.sum(-1)\n")
    assert "    w = (\n" in source
    assert max(map(len, source.split("\n"))) <= 100


def test_a_docstring_cannot_end_itself():
    source = emitted('def mix(q, s):\n    """a \\"\\"\\" b \\\\"""\n    return q.sum(-1)\n')
    function = next(n for n in ast.parse(source).body if isinstance(n, ast.FunctionDef))
    assert ast.get_docstring(function) == 'a """ b \\'


def test_only_the_helpers_in_use_are_carried_along():
    source = emitted("def mix(q, s):\n    return q.abs().clamp(max=2.0).sum(-1)\n")
    assert "def _abs(x)" in source
    assert "def _at_most(x, high)" in source
    assert "_at_least" not in source
    assert "def _abs" not in emitted("def mix(q, s):\n    return (q * s.abs()[:, :3]).sum(-1)\n")


@pytest.mark.parametrize(
    ("text", "batched"),
    [
        ("def f(q, s):\n    return q.sum(dim=-1)\n", True),
        ("def f(q, s):\n    return (q * s[0]).sum()\n", False),
        ("import jax.numpy as jnp\ndef f(q, s):\n    return jnp.sum(q)\n", False),
        ("import jax.numpy as jnp\ndef f(q, s):\n    return jnp.sum(q * s[:, :3], axis=1)\n", True),
        ("import numpy as np\ndef f(q, s):\n    return np.dot(q, s[:3])\n", False),
        ("import numpy as np\ndef f(q, s):\n    return np.sum(q, axis=-1)\n", False),
        ("import numpy as np\ndef f(q, s):\n    B = len(q)\n    return np.sum(q, axis=-1)\n", True),
    ],
)
def test_the_reading_follows_shapes_then_the_habit_of_the_dialect(text, batched):
    assert translate(text, 3, 12).batched is batched
