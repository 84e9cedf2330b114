"""Critics of learners without a mixer: what they read, what they remember, who has credit."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from qllm_jax.config import AgentConfig, MixerConfig
from qllm_jax.networks import MixerHyper, TeamSizes, make_mixer
from qllm_jax.networks.critics import state_value

T, B, N, D = 4, 2, 3, 5
HYPER = MixerHyper(scale=jnp.float32(1.0), candidate=jnp.int32(0))


@pytest.mark.parametrize(("kind", "remembers"), [("rnn", True), ("mlp", False), ("cnn", False)])
def test_the_states_value_remembers_where_the_agents_do(kind, remembers):
    critic = state_value(TeamSizes(N, D), AgentConfig(name=kind, hidden_dim=6))
    params = critic.init(jax.random.key(0))
    state = jax.random.normal(jax.random.key(1), (T, B, D))
    reset = jnp.zeros((T, B), bool).at[0].set(True).at[2, 1].set(True)
    qs = jnp.ones((T, B, N))
    values = critic.mixed(params, qs, state, reset, HYPER)
    assert values.shape == (T, B, 1)
    changed = critic.mixed(params, qs, state.at[0].add(1.0), reset, HYPER)
    moved = np.asarray(changed != values)[..., 0]
    # Environment 1 is reset in slot 2 and forgets; environment 0 never is.
    expected = np.array([[True, True], [True, True], [True, False], [True, False]])
    expected[1:] &= remembers
    np.testing.assert_array_equal(moved, expected)
    credit = jax.grad(lambda qs: jnp.sum(critic.mixed(params, qs, state, reset, HYPER)))(qs)
    np.testing.assert_array_equal(credit, jnp.zeros_like(qs))


def test_a_mixer_without_a_memory_mixes_slot_by_slot():
    mixer = make_mixer(MixerConfig(name="qmix"), N, D)
    params = mixer.init(jax.random.key(0))
    qs = jax.random.normal(jax.random.key(1), (T, B, N))
    state = jax.random.normal(jax.random.key(2), (T, B, D))
    mixed = mixer.mixed(params, qs, state, jnp.zeros((T, B), bool), HYPER)
    for t in range(T):
        for b in range(B):
            alone = mixer.apply(params, qs[t, b], state[t, b], HYPER)
            np.testing.assert_allclose(mixed[t, b], alone, rtol=1e-5, atol=1e-6)
