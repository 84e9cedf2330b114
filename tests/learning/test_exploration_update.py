"""Exploration, reward moments, optimiser and target updates."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from qllm_jax.learning import (
    NetworkParams,
    all_finite,
    apply_gradients,
    epsilon_greedy_actions,
    init_moments,
    linear_decay,
    linear_epsilon,
    make_optimizer,
    standardise,
    update_moments,
    update_target,
)


def test_epsilon_falls_linearly_and_stays():
    # From 1 to 0.2 over the first half: at 0.25 it is halfway, 0.6.
    values = [float(linear_epsilon(p, 1.0, 0.2, 0.5)) for p in (0.0, 0.25, 0.5, 1.0)]
    np.testing.assert_allclose(values, [1.0, 0.6, 0.2, 0.2], rtol=1e-6)


def test_greedy_without_exploration_and_uniform_with_it():
    q_values = jnp.tile(jnp.array([0.0, 9.0, 1.0, 2.0]), (20_000, 1))
    avail = jnp.tile(jnp.array([True, False, True, True]), (20_000, 1))
    noise = jax.random.uniform(jax.random.key(0), (20_000, 5))
    greedy = epsilon_greedy_actions(noise, q_values, avail, 0.0)
    assert set(np.unique(greedy)) == {3}  # action 1 is better but not available
    random = np.bincount(epsilon_greedy_actions(noise, q_values, avail, 1.0), minlength=4)
    # Each available action has probability 1/3; the standard deviation of a share is 0.0033.
    np.testing.assert_allclose(random / 20_000, [1 / 3, 0, 1 / 3, 1 / 3], atol=0.015)
    half = np.bincount(epsilon_greedy_actions(noise, q_values, avail, 0.3), minlength=4)
    # Greedy with 0.7, plus a third of 0.3.
    np.testing.assert_allclose(half / 20_000, [0.1, 0, 0.1, 0.8], atol=0.015)


def test_running_moments_equal_numpys_over_all_batches():
    random = np.random.default_rng(0)
    moments, seen = init_moments(), []
    for _ in range(5):
        values, mask = random.normal(3.0, 2.0, (4, 6)), random.random((4, 6)) < 0.7
        moments = update_moments(moments, jnp.float32(values), mask)
        seen.extend(values[mask])
    assert float(moments.count) == len(seen)
    np.testing.assert_allclose(moments.mean, np.mean(seen), rtol=1e-5)
    np.testing.assert_allclose(
        standardise(moments, jnp.float32(seen)),
        (np.array(seen) - np.mean(seen)) / np.std(seen),
        atol=1e-4,
    )


@pytest.mark.parametrize(("name", "reference"), [("adam", optax.adam), ("radam", optax.radam)])
def test_a_traced_learning_rate_equals_optax(name, reference):
    theirs = optax.chain(optax.clip_by_global_norm(1.0), reference(0.05))
    ours = make_optimizer(name, 1.0)
    params = their_params = {"w": jnp.array([1.0, -2.0]), "b": jnp.array(0.5)}
    state, their_state = ours.init(params), theirs.init(params)
    step = jax.jit(lambda *args: apply_gradients(ours, *args))
    for count in range(8):
        grads = jax.tree.map(lambda leaf, c=count: jnp.sin(leaf + c) * 3, params)
        params, state = step(params, state, grads, jnp.float32(0.05))
        updates, their_state = theirs.update(grads, their_state, their_params)
        their_params = optax.apply_updates(their_params, updates)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), params, their_params)


def test_actor_and_critic_have_an_optimiser_each():
    factors = {"agent": 1.0, "mixer": 5.0}
    one = make_optimizer("adam", 1.0, epsilon=0.1, lr_by_field=factors)
    start = NetworkParams(agent={"w": jnp.array([1.0, -2.0])}, mixer={"w": jnp.array([3.0])})
    # 5 and 0.5: only the actor's gradient is clipped, and the critic's not with it.
    grads = NetworkParams(agent={"w": jnp.array([3.0, 4.0])}, mixer={"w": jnp.array([0.5])})
    params, _ = apply_gradients(one, start, one.init(start), grads, jnp.float32(0.05))
    for part in ("agent", "mixer"):
        before, grad = getattr(start, part), getattr(grads, part)
        adam = optax.adam(0.05 * factors[part], eps=0.1)
        alone = optax.chain(optax.clip_by_global_norm(1.0), adam)
        updates, _ = alone.update(grad, alone.init(before), before)
        expected = optax.apply_updates(before, updates)
        np.testing.assert_allclose(getattr(params, part)["w"], expected["w"], rtol=1e-6)


def test_targets_move_by_tau_and_one_copies():
    params, target = {"w": jnp.array([4.0])}, {"w": jnp.array([0.0])}
    np.testing.assert_allclose(update_target(params, target, 0.25)["w"], [1.0])
    np.testing.assert_array_equal(update_target(params, target, 1.0)["w"], params["w"])


def test_the_learning_rate_decays_to_zero_and_not_below():
    values = [float(linear_decay(0.2, step, 10)) for step in (0, 5, 10, 12)]
    np.testing.assert_allclose(values, [0.2, 0.1, 0.0, 0.0], atol=1e-7)


def test_all_finite_sees_one_bad_element():
    assert all_finite({"a": jnp.ones(3), "b": jnp.zeros(())})
    for bad in (jnp.nan, jnp.inf):
        assert not all_finite({"a": jnp.ones(3), "b": jnp.array(bad)})
