"""Targets: values worked out by hand, and a slow loop over random shapes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from qllm_jax.learning import (
    acting_mask,
    double_q_values,
    joint_action,
    lambda_returns,
    take_actions,
)

FALSE3, FALSE5 = np.zeros(3, bool), np.zeros(5, bool)


def column(*values):
    return jnp.asarray(values, jnp.float32)[:, None]


def at(index, size):
    return np.arange(size) == index


def test_without_lambda_a_return_is_the_one_step_target():
    # γ = 0.5. Slot 0: 1 + 0.5 · 10 = 6. Slot 1 terminates: 2. Slot 2: 3 + 0.5 · 30 = 18.
    rewards, nowhere = jnp.array([1.0, 2, 3]), np.zeros(3, bool)
    returns = lambda_returns(rewards, column(10, 20, 30), at(1, 3), nowhere, 0.5, 0.0)
    np.testing.assert_allclose(returns[:, 0], [6, 2, 18])


def test_a_time_limit_bootstraps_from_its_own_last_slot():
    # Slots: 0, 1 act; 2 is `last` (the end of the truncated episode); 3, 4 act in the next one.
    # v_tp1 = [10, 20, 99, 30, 40]: slot 1's successor is the last slot, whose value is 20.
    # γ = 0.5, λ = 1. Slot 4 (window's end): 5 + 0.5 · 40 = 25. Slot 3: 4 + 0.5 · 25 = 16.5.
    # Slot 1 is truncated: 2 + 0.5 · 20 = 12, not continued into slot 2. Slot 0: 1 + 0.5 · 12 = 7.
    returns = lambda_returns(
        jnp.array([1.0, 2, 3, 4, 5]), column(10, 20, 99, 30, 40), FALSE5, at(1, 5), 0.5, 1.0
    )
    np.testing.assert_allclose(returns[jnp.array([0, 1, 3, 4]), 0], [7, 12, 16.5, 25])


def test_a_termination_does_not_bootstrap():
    # As above but slot 1 terminates: its return is 2, and slot 0's is 1 + 0.5 · 2 = 2.
    returns = lambda_returns(
        jnp.array([1.0, 2, 3, 4, 5]), column(10, 20, 99, 30, 40), at(1, 5), FALSE5, 0.5, 1.0
    )
    np.testing.assert_allclose(returns[:2, 0], [2, 2])


def test_lambda_mixes_one_step_and_longer_returns():
    # γ = 1, λ = 0.5. Slot 2: 3 + 30 = 33. Slot 1: 2 + (0.5 · 20 + 0.5 · 33) = 28.5.
    # Slot 0: 1 + (0.5 · 10 + 0.5 · 28.5) = 20.25.
    returns = lambda_returns(jnp.array([1.0, 2, 3]), column(10, 20, 30), FALSE3, FALSE3, 1.0, 0.5)
    np.testing.assert_allclose(returns[:, 0], [20.25, 28.5, 33])


def slow_returns(reward, values_tp1, terminated, truncated, discount, td_lambda):
    """The definition, slot by slot and value by value."""
    steps, num_values = values_tp1.shape
    returns = np.zeros((steps, num_values))
    for m in range(num_values):
        for t in reversed(range(steps)):
            if terminated[t]:
                returns[t, m] = reward[t]
                continue
            future = values_tp1[t, m]
            if not truncated[t] and t + 1 < steps:
                future = (1 - td_lambda) * future + td_lambda * returns[t + 1, m]
            returns[t, m] = reward[t] + discount * future
    return returns


@pytest.mark.parametrize("seed", range(6))
def test_returns_equal_a_slow_loop(seed):
    random = np.random.default_rng(seed)
    steps, num_values = random.integers(1, 9), random.integers(1, 4)
    reward, values = random.normal(size=steps), random.normal(size=(steps, num_values))
    terminated = random.random(steps) < 0.25
    truncated = ~terminated & (random.random(steps) < 0.25)
    arrays = (jnp.float32(reward), jnp.float32(values), terminated, truncated)
    for td_lambda in (0.0, 0.7, 1.0):
        expected = slow_returns(reward, values, terminated, truncated, 0.9, td_lambda)
        np.testing.assert_allclose(lambda_returns(*arrays, 0.9, td_lambda), expected, rtol=1e-5)
    one_step = reward[:, None] + 0.9 * ~terminated[:, None] * values
    np.testing.assert_allclose(lambda_returns(*arrays, 0.9, 0.0), one_step, rtol=1e-5)


def test_nobody_learns_in_a_last_slot_or_at_the_windows_end():
    last = np.array([False, True, False, False])
    np.testing.assert_array_equal(acting_mask(last), [True, False, True])


def test_double_q_evaluates_the_other_networks_choice_among_available_actions():
    selector = jnp.array([[1.0, 5.0, 9.0]])
    target = jnp.array([[10.0, 20.0, 30.0]])
    # Action 2 is the selector's best but not available: action 1 is taken, worth 20.
    values = double_q_values(selector, target, jnp.array([[True, True, False]]))
    np.testing.assert_allclose(values, [20.0])
    gradient = jax.grad(lambda q: double_q_values(selector, q, jnp.ones((1, 3), bool)).sum())(
        target
    )
    np.testing.assert_array_equal(gradient, jnp.zeros((1, 3)))


def test_take_actions_is_a_gather():
    random = np.random.default_rng(0)
    q_values, actions = random.normal(size=(4, 2, 5)), random.integers(0, 5, (4, 2))
    expected = np.take_along_axis(q_values, actions[..., None], axis=-1)[..., 0]
    np.testing.assert_allclose(take_actions(jnp.float32(q_values), actions), expected, rtol=1e-6)


def test_joint_action_marks_taken_and_best_actions():
    q_values = jnp.array([[1.0, 3.0, 2.0], [5.0, 4.0, 6.0]])
    avail = jnp.array([[True, True, True], [True, True, False]])
    joint = joint_action(q_values, avail, jnp.array([2, 1]))
    np.testing.assert_array_equal(joint.actions, [[0, 0, 1], [0, 1, 0]])
    # The second agent's best, 6, is not available.
    np.testing.assert_array_equal(joint.greedy_actions, [[0, 1, 0], [1, 0, 0]])
    np.testing.assert_array_equal(joint.greedy_qs, [3.0, 5.0])
