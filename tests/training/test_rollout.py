"""Collecting: episodes that end inside a window, and what their last slots hold."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from qllm_jax.config import AgentConfig
from qllm_jax.networks import make_agent
from qllm_jax.training.replay import add, init_replay, sample
from qllm_jax.training.rollout import collect

T, B, LENGTH = 12, 5, 3


@pytest.fixture(scope="module", params=["early", "truncated", "terminated"])
def collected(request, probes):
    """A window of several episodes, as collected and as sampled; how they end is the parameter."""
    env = probes.team_env(probes.sum_of_actions, length=LENGTH, ends=request.param)
    agent = make_agent(AgentConfig(hidden_dim=4), 2, 3, (2,))
    params = agent.init(jax.random.key(1))

    @jax.jit
    def run(key):
        record = collect(key, params, jnp.float32(1.0), env, agent, B, T)
        replay = add(init_replay(env, B, T, "float32"), record, jnp.int32(0))
        return record, sample(key, replay, jnp.int32(B), 16, env)

    return request.param, *jax.tree.map(np.asarray, run(jax.random.key(0)))


def test_slots_follow_the_clock(collected):
    """The observation shows the time t / length: it must count up, end, and start again."""
    kind, _, window = collected
    time = np.rint(window.obs[:, :, 0, 1] * LENGTH).astype(int)
    assert np.all(time[window.reset] == 0)
    assert np.all(time[:-1][window.truncated[:-1]] == LENGTH - 1)
    # A `last` slot shows the episode's own end, not the next episode's beginning.
    ended = window.terminated | window.truncated
    assert np.all(time[1:][ended[:-1]] == time[:-1][ended[:-1]] + 1)
    if kind != "early":
        assert np.all(time[window.last] == LENGTH)
        assert np.any(window.truncated) == (kind == "truncated")
    else:
        assert np.any(window.terminated)
        assert np.any(window.truncated)
    assert np.sum(window.reset) > window.reset.shape[1]  # some window holds several episodes
    running = ~window.last[:-1] & ~ended[:-1]
    assert np.all(time[1:][running] == time[:-1][running] + 1)


def test_rewards_belong_to_the_slot_that_earned_them(collected):
    _, record, _ = collected
    ended = record.terminated | record.truncated
    acting = np.concatenate([np.ones((1, B), bool), ~ended[:-1]])
    np.testing.assert_array_equal(record.reward[acting], record.actions.sum(-1)[acting])
    assert np.all(record.reward[~acting] == 0)


def test_states_are_recomputed_from_observations(collected):
    _, _, window = collected
    np.testing.assert_array_equal(window.state, window.obs[:, :, 0])


def test_a_window_of_one_episode_needs_no_reset_inside(probes):
    """`fixed_length` leaves the reset out of the program; what is collected is the same."""
    agent = make_agent(AgentConfig(hidden_dim=4), 2, 3, (2,))
    params = agent.init(jax.random.key(1))
    records = []
    for fixed in (True, False):
        env = probes.team_env(probes.sum_of_actions, length=LENGTH)
        env = dataclasses.replace(env, fixed_length=fixed)
        run = jax.jit(lambda key, env=env: collect(key, params, 0.5, env, agent, B, LENGTH + 1))
        records.append(run(jax.random.key(0)))
    jax.tree.map(np.testing.assert_array_equal, *records)
