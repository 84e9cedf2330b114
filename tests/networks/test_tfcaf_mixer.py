"""The TFCAF mixer: one function, several, and one that breaks."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from qllm_jax.config import MixerConfig
from qllm_jax.errors import UserError
from qllm_jax.networks import MixerHyper, make_mixer

CONFIG = MixerConfig(name="tfcaf")


def total(agent_qs, state):
    return jnp.sum(agent_qs)


def weighted(agent_qs, state):
    return jnp.sum(agent_qs * state[:2])


def broken(agent_qs, state):
    return jnp.sum(jnp.sqrt(-1.0 - agent_qs**2))  # NaN, and so is its gradient


def value_and_credit(mixer, candidate, scale=1.0):
    hyper = MixerHyper(scale=jnp.float32(scale), candidate=jnp.int32(candidate))
    agent_qs, state = jnp.array([1.0, -2.0]), jnp.array([3.0, 4.0, 5.0])
    return jax.value_and_grad(lambda qs: mixer.apply({}, qs, state, hyper)[0])(agent_qs)


def test_candidates_are_chosen_by_a_traced_index():
    mixer = make_mixer(CONFIG, 2, 3, (total, weighted))
    value, credit = jax.vmap(lambda c: value_and_credit(mixer, c))(jnp.arange(2))
    # 1 − 2 = −1; 3 · 1 + 4 · (−2) = −5
    np.testing.assert_allclose(value, [-1.0, -5.0])
    np.testing.assert_allclose(credit, [[1, 1], [3, 4]])


def test_one_candidates_nan_reaches_no_other():
    mixer = make_mixer(CONFIG, 2, 3, (total, broken, weighted))
    value, credit = jax.vmap(lambda c: value_and_credit(mixer, c))(jnp.arange(3))
    np.testing.assert_allclose(value, [-1.0, np.nan, -5.0])
    np.testing.assert_allclose(credit, [[1, 1], [np.nan] * 2, [3, 4]])


def test_several_candidates_equal_one_by_one():
    together = make_mixer(CONFIG, 2, 3, (total, weighted))
    for index, function in enumerate((total, weighted)):
        alone = make_mixer(CONFIG, 2, 3, (function,))
        for a, b in zip(
            value_and_credit(together, index, 3.0), value_and_credit(alone, 0, 3.0), strict=True
        ):
            np.testing.assert_array_equal(a, b)


def test_scale_multiplies_value_and_credit():
    value, credit = value_and_credit(make_mixer(CONFIG, 2, 3, (total,)), 0, scale=2.0)
    np.testing.assert_allclose(value, -2.0)
    np.testing.assert_allclose(credit, [2.0, 2.0])


def test_a_tfcaf_that_sums_is_vdn():
    tfcaf = make_mixer(CONFIG, 2, 3, (total,))
    vdn = make_mixer(MixerConfig(name="vdn"), 2, 3)
    for a, b in zip(value_and_credit(tfcaf, 0), value_and_credit(vdn, 0), strict=True):
        np.testing.assert_array_equal(a, b)


def test_no_function_and_an_unknown_name_say_what_to_do():
    with pytest.raises(UserError, match="qllm-jax generate"):
        make_mixer(CONFIG, 2, 3)
    with pytest.raises(UserError, match="Did you mean 'qmix'"):
        make_mixer(MixerConfig(name="qmx"), 2, 3)


@pytest.mark.parametrize("sizes", [(1, 2), (3, 5)])
def test_qmix_equals_slow_numpy(sizes):
    num_agents, state_dim = sizes
    config = MixerConfig(name="qmix", embedding_dim=4, hypernet_hidden_dim=6, init_scale=1.0)
    mixer = make_mixer(config, num_agents, state_dim)
    params = jax.jit(mixer.init)(jax.random.key(0))
    params = jax.tree.map(lambda leaf: leaf + 0.1, params)  # biases too
    random = np.random.default_rng(0)
    agent_qs, state = random.normal(size=num_agents), random.normal(size=state_dim)
    p = jax.tree.map(np.asarray, params)
    first = state @ p["first"] + p["first_bias"]
    layers = np.split(first, [6, 12, 16])

    def second(name, inputs):
        return np.maximum(inputs, 0) @ p[name]["kernel"] + p[name]["bias"]

    w_1 = np.abs(second("w_1", layers[0])).reshape(num_agents, 4)
    w_2, b_2 = np.abs(second("w_2", layers[1])), second("b_2", layers[2])
    mixed = agent_qs @ w_1 + layers[3]
    expected = np.where(mixed > 0, mixed, np.expm1(mixed)) @ w_2 + b_2
    hyper = MixerHyper(scale=jnp.float32(1), candidate=jnp.int32(0))
    got = mixer.apply(params, jnp.float32(agent_qs), jnp.float32(state), hyper)
    np.testing.assert_allclose(got, expected, rtol=1e-4)
