"""Every operation of jnp, jax.nn and lax equals itself after translation, value and gradient."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tfcaf_expressions as table
import tfcaf_oracles as oracles

from qllm_jax.tfcaf import TranslationError, translate

EXPRESSIONS = [table.spelled(e, "jnp") for e in table.expressions(table.COMMON)]
EXPRESSIONS += table.expressions(table.JNP_ONLY)
IMPORTS = "import jax\nimport jax.numpy as jnp\nfrom jax import lax"
RNG = np.random.default_rng(0)
STATES = [RNG.normal(size=12), RNG.integers(-2, 3, 12) * 0.5]
AGENT_QS = [RNG.normal(size=3), np.array([0.5, -1.0, 0.5])]


@pytest.mark.parametrize("expression", sorted(set(EXPRESSIONS)))
def test_operation_equals_jnp(expression):
    size = oracles.size_of(expression, {"jnp": jnp, "jax": jax, "lax": jax.lax})
    source = table.source(expression, size, IMPORTS)
    original = oracles.load_original(source)
    function = translate(source, num_agents=3, state_dim=12).function
    for q, s in zip(jnp.float32(np.array(AGENT_QS)), jnp.float32(np.array(STATES)), strict=True):
        expected, slope = jax.value_and_grad(original)(q, s)
        actual, credit = jax.value_and_grad(function)(q, s)
        oracles.assert_close(np.asarray(actual)[None], np.asarray(expected)[None])
        oracles.assert_close(credit, slope, what="credit")


@pytest.mark.parametrize(
    ("called", "nearest"),
    [("jax.nn.softmx(q)", "jax.nn.softmax"), ("jnp.meann(q)", "jnp.mean"), ("q.summ()", ".sum")],
)
def test_an_unknown_operation_is_refused_with_the_nearest(called, nearest):
    with pytest.raises(TranslationError) as refused:
        translate(table.source(called, 1, IMPORTS), num_agents=3, state_dim=12)
    assert refused.value.rule == "unknown-operation"
    assert nearest in refused.value.fix


@pytest.mark.parametrize(
    ("called", "rule"),
    [
        ("jax.lax.while_loop(lambda c: True, lambda c: c, q)", "while"),
        ("jax.pure_callback(abs, q, q)", "callback"),
        ("jax.random.uniform(jax.random.key(0), (3,)) * q", "random"),
        ("jax.grad(lambda t: t.sum())(q)", "autograd"),
        ("lax.fori_loop(0, i[0, 0], lambda k, c: c, 0.0)", "static-argument"),
        ("jnp.nonzero(x)[0]", "dynamic-shape"),
        ("x[x > 0].sum()", "dynamic-shape"),
    ],
)
def test_what_cannot_be_is_refused_by_its_rule(called, rule):
    with pytest.raises(TranslationError) as refused:
        translate(table.source(called, 1, IMPORTS), num_agents=3, state_dim=12)
    assert refused.value.rule == rule


MAPPED = {
    "nested": """
def tfcaf(agent_qs, state):
    @jax.vmap
    def one(x):
        return jnp.tanh(jnp.sum(x))
    return jnp.sum(one(state.reshape(3, 4)) * agent_qs)
""",
    "with-axes": """
from functools import partial

@partial(jax.vmap, in_axes=(0, None))
def one(x, scale):
    return jnp.tanh(scale * jnp.sum(x))

def tfcaf(agent_qs, state):
    return jnp.sum(one(state.reshape(3, 4), state[0]) * agent_qs)
""",
    "jitted": """
@jax.jit
def tfcaf(agent_qs, state):
    @jax.vmap
    @jax.jit
    def one(x):
        return jnp.tanh(jnp.sum(x))
    one_of_one = one(state.reshape(3, 4))
    return jnp.sum(one_of_one * agent_qs)
""",
    "rematerialised": """
def tfcaf(agent_qs, state):
    @jax.checkpoint
    def block(x):
        return jnp.tanh(x) + x
    return jnp.sum(block(block(state.reshape(3, 4))).sum(axis=1) * agent_qs)
""",
    "the-function-itself": """
@jax.vmap
def tfcaf(agent_qs, state):
    return jnp.sum(jnp.tanh(state.reshape(3, 4).sum(axis=1)) * agent_qs)
""",
}


@pytest.mark.parametrize("name", sorted(MAPPED))
def test_a_function_mapped_by_its_decorator(name):
    source = f"import jax\nimport jax.numpy as jnp\n{MAPPED[name]}"
    original = oracles.load_original(source)
    function = translate(source, num_agents=3, state_dim=12).function
    for q, s in zip(AGENT_QS, STATES, strict=True):
        q, s = jnp.float32(q), jnp.float32(s)
        given = (q[None], s[None]) if name == "the-function-itself" else (q, s)
        expected = np.asarray(original(*given)).reshape(())
        oracles.assert_close(np.asarray(function(q, s))[None], expected[None], rtol=3e-5)
