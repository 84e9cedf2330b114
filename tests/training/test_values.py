"""Probe tasks with known values: what is learned is the value, not merely something."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from qllm_jax.networks import MixerHyper, make_agent
from qllm_jax.training import record_episode, run_training

HYPER = MixerHyper(scale=jnp.float32(1.0), candidate=jnp.int32(0))
OWN = jnp.array([[0.0, 2.0, -1.0], [3.0, 0.0, 1.0]])  # one agent's share, by sign and action


def decomposable(sign, t, actions):
    """A payoff that depends on the state and is a sum over agents: VDN can hold it exactly."""
    row = OWN[(sign > 0).astype(jnp.int32)]
    return row[actions[0]] + 2.0 * row[actions[1]]


def climbing(sign, t, actions):
    """The climbing game: no monotone mixer can hold it."""
    payoff = jnp.array([[11.0, -30.0, 0.0], [-30.0, 7.0, 0.0], [0.0, 6.0, 5.0]])
    return payoff[actions[0], actions[1]]


def q_at(env, config, output, time=0.0):
    """Agents' values `[2 signs, N, A]` in the first slot of an episode."""
    agent = make_agent(config.agent, env.num_agents, env.num_actions, env.obs_shape)
    obs = jnp.stack([jnp.tile(jnp.array([sign, time]), (2, 1)) for sign in (-1.0, 1.0)])
    params = output.run_params(0).agent
    return agent.apply(params, obs[None], jnp.ones((1, 2), bool))[0]


@pytest.mark.parametrize("name", ["vdn", "qmix"])
def test_a_decomposable_payoff_is_learned_exactly(name, probes):
    env = probes.team_env(decomposable, length=1, ends="terminated")
    mixer = probes.mixer_for(env, name, init_scale=0.5)
    config = probes.config_for(
        env,
        num_iterations=1500,
        num_seeds=1,
        num_evaluations=1,
        num_envs=8,
        batch_size=32,
        replay_capacity=400,
        lr_linear_decay=True,
    )
    output = run_training(probes.as_spec(env), mixer, config)
    q_values, params = q_at(env, config, output), output.run_params(0).mixer
    for index, sign in enumerate((-1.0, 1.0)):
        for a, b in itertools.product(range(3), repeat=2):
            agent_qs = jnp.stack([q_values[index, 0, a], q_values[index, 1, b]])
            got = mixer.apply(params, agent_qs, jnp.array([sign, 0.0]), HYPER)[0]
            expected = decomposable(jnp.float32(sign), 0, jnp.array([a, b]))
            np.testing.assert_allclose(got, expected, atol=0.15)
    # The best joint action: sign −1 pays 2 + 4, sign +1 pays 3 + 6; each half of the time.
    assert output.metrics["return"][0, -1] in np.arange(6, 9.01, 0.75)


def test_vdn_on_climbing_is_the_best_additive_fit(probes):
    """Under uniform play VDN converges to the least-squares sum of rows and columns."""
    env = probes.team_env(climbing, length=1, ends="terminated")
    config = probes.config_for(
        env,
        num_iterations=1500,
        num_seeds=1,
        num_evaluations=1,
        num_envs=8,
        batch_size=64,
        replay_capacity=2000,
        lr_linear_decay=True,
    )
    output = run_training(probes.as_spec(env), probes.mixer_for(env, "vdn"), config)
    q_values = np.asarray(q_at(env, config, output)).mean(0)
    fit = q_values[0][:, None] + q_values[1][None, :]
    payoff = np.array([[11.0, -30, 0], [-30, 7, 0], [0, 6, 5]])
    best = payoff.mean(1)[:, None] + payoff.mean(0)[None, :] - payoff.mean()
    np.testing.assert_allclose(fit, best, atol=2.5)
    # So it plays action 2 twice, worth 5, and misses the optimum of 11.
    assert output.metrics["return"][0, -1] == 5.0


def test_a_termination_ends_the_value(probes):
    # One per step, γ = 0.5, three steps, then terminated: 1, 1 + 0.5 = 1.5, 1 + 0.75 = 1.75.
    env = probes.team_env(lambda sign, t, actions: jnp.float32(1), ends="terminated")
    config = probes.config_for(
        env, num_iterations=600, num_seeds=1, num_evaluations=1, discount=0.5, lr=0.003
    )
    vdn = probes.mixer_for(env, "vdn")
    output = run_training(probes.as_spec(env), vdn, config)
    trace = record_episode(
        probes.as_spec(env), vdn, config, output.run_params(0), jax.random.key(5)
    )
    np.testing.assert_allclose(trace.q_tot, [1.75, 1.5, 1.0], atol=0.1)
    assert trace.episode_return == 3.0
    assert trace.states.shape == (4, 2)
    np.testing.assert_allclose(trace.states[:, 1], [0, 1 / 3, 2 / 3, 1])
    np.testing.assert_allclose(trace.credits, np.ones((3, 2)), rtol=1e-5)


@pytest.mark.parametrize("td_lambda", [0.0, 0.8])
def test_a_time_limit_does_not_end_the_value(td_lambda, probes):
    # One per step for ever, γ = 0.5: 1 / (1 − 0.5) = 2 in every slot, because the time limit
    # bootstraps. Were it taken for an end, the last slots would be worth 1 and 1.5.
    env = probes.team_env(
        lambda sign, t, actions: jnp.float32(1), length=8, see=lambda sign, t: (sign, 1.0)
    )
    config = probes.config_for(
        env,
        num_iterations=600,
        num_seeds=1,
        num_evaluations=1,
        discount=0.5,
        lr=0.003,
        td_lambda=td_lambda,
    )
    vdn = probes.mixer_for(env, "vdn")
    output = run_training(probes.as_spec(env), vdn, config)
    trace = record_episode(
        probes.as_spec(env), vdn, config, output.run_params(0), jax.random.key(5)
    )
    np.testing.assert_allclose(trace.q_tot, np.full(8, 2.0), atol=0.1)


def test_standardised_rewards_and_soft_targets_learn_the_same_policy(probes):
    env = probes.team_env(decomposable, length=1, ends="terminated")
    config = probes.config_for(
        env,
        num_iterations=400,
        num_seeds=1,
        num_evaluations=1,
        standardise_rewards=True,
        target_update="soft",
        tau=0.05,
        updates_per_window=2,
    )
    output = run_training(probes.as_spec(env), probes.mixer_for(env, "vdn"), config)
    q_values = np.asarray(q_at(env, config, output))
    # The best actions are 1 and 0; (x − mean) / std keeps the order.
    np.testing.assert_array_equal(q_values.argmax(-1), [[1, 1], [0, 0]])
    assert np.abs(q_values).max() < 3.0  # of unit variance, not of payoffs up to 9


def test_an_episode_that_ends_early_is_cut_there(probes):
    env = probes.team_env(decomposable, length=6, ends="early")
    config = probes.config_for(env, num_iterations=4, num_seeds=1, num_evaluations=1)
    iql = probes.mixer_for(env, "iql")
    output = run_training(probes.as_spec(env), iql, config)
    lengths = set()
    for seed in range(8):
        trace = record_episode(
            probes.as_spec(env), iql, config, output.run_params(0), jax.random.key(seed)
        )
        length = len(trace.rewards)
        lengths.add(length)
        np.testing.assert_allclose(trace.states[:, 1], np.arange(length + 1) / 6, rtol=1e-6)
        assert len(trace.env_states[1]) == length + 1
    assert len(lengths) > 1
