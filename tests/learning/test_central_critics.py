"""COMA's and MADDPG's losses against slow loops."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from random_windows import random_window

from qllm_jax.learning import (
    NetworkParams,
    coma_loss,
    maddpg_loss,
    prepare_coma_batch,
    straight_through,
)

A, GAMMA, LAMBDA, VALUE, ENTROPY = 3, 0.9, 0.7, 0.5, 0.1


def agent_apply(params, obs, reset):
    """Logits that are linear in the observation."""
    return obs @ params


def counterfactual(params, state, actions):
    """`[N, A]`: linear in the state, the others' actions and the own one."""
    own, others, bias = params
    rest = jnp.sum(actions * others, axis=1)  # [N], what each agent's action adds
    return own + (jnp.sum(rest) - rest)[:, None] + bias * jnp.sum(state)


def joint_value(params, state, actions):
    weights, bias = params
    return (jnp.sum(weights * actions) + bias * jnp.sum(state))[None]


def probabilities(logits, avail):
    weights = np.where(avail, np.exp(logits - logits[avail].max()), 0.0)
    return weights / weights.sum()


def returns_of(window, value, t, b):
    """G [..] of slot t by its recursive definition; `value(t)` is what it bootstraps from."""
    after = value(t + 1)
    if window.terminated[t, b]:
        return window.reward[t, b] + 0.0 * after
    if window.truncated[t, b] or t == window.obs.shape[0] - 2:
        return window.reward[t, b] + GAMMA * after
    later = returns_of(window, value, t + 1, b)
    return window.reward[t, b] + GAMMA * ((1 - LAMBDA) * after + LAMBDA * later)


def acting_slots(window):
    num_slots, num_envs = window.reward.shape
    return [(t, b) for b in range(num_envs) for t in range(num_slots - 1) if not window.last[t, b]]


def slow_coma(params, old, window):
    agents = range(window.obs.shape[2])

    def q_values(who, t, b, actions):
        one_hot = np.eye(A)[actions]
        return np.asarray(counterfactual(who.mixer, window.state[t, b], one_hot))

    def acted(t, b):
        if not window.last[t, b] and t < window.obs.shape[0] - 1:
            return window.actions[t, b]
        logits = window.obs[t, b] @ old.agent
        return np.where(window.avail_actions[t, b], logits, -np.inf).argmax(-1)

    actor, critic, entropies = [], [], []
    for t, b in acting_slots(window):

        def taken(s, b=b):
            actions = acted(s, b)
            return q_values(old, s, b, actions)[agents, actions]

        targets = returns_of(window, taken, t, b)
        actions = window.actions[t, b]
        q = q_values(params, t, b, actions)
        for i in agents:
            avail = window.avail_actions[t, b, i]
            pi = probabilities(window.obs[t, b, i] @ params.agent, avail)
            advantage = q[i, actions[i]] - np.sum(pi * q[i])
            actor.append(np.log(pi[actions[i]]) * advantage)
            entropies.append(-np.sum(pi[pi > 0] * np.log(pi[pi > 0])))
            critic.append((q[i, actions[i]] - targets[i]) ** 2)
    return -np.mean(actor) + VALUE * 0.5 * np.mean(critic) - ENTROPY * np.mean(entropies)


@pytest.mark.parametrize("shape", [(2, 2, 1), (7, 3, 2)])
def test_comas_loss_equals_a_slow_loop(shape):
    random = np.random.default_rng(sum(shape))
    window, num_agents = random_window(random, *shape, A), shape[-1]

    def some_params():
        critic = [random.normal(size=(num_agents, A)).astype(np.float32) for _ in range(3)]
        return NetworkParams(agent=random.normal(size=(4, A)).astype(np.float32), mixer=critic)

    old, params = some_params(), some_params()

    @jax.jit
    def loss(params, old, window):
        batch = prepare_coma_batch(
            old, window, agent_apply, counterfactual, discount=GAMMA, td_lambda=LAMBDA
        )
        return coma_loss(
            params, batch, agent_apply, counterfactual, value_coef=VALUE, entropy_coef=ENTROPY
        )[0]

    np.testing.assert_allclose(loss(params, old, window), slow_coma(params, old, window), rtol=1e-4)
    gradient = jax.grad(loss)(params, old, window)
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(gradient))


def slow_maddpg(params, target, window, noise):
    agents = range(window.obs.shape[2])
    critic, actor, sizes = [], [], []
    for t, b in acting_slots(window):

        def bootstrap(s, b=b):
            logits = window.obs[s, b] @ target.agent
            best = np.where(window.avail_actions[s, b], logits, -np.inf).argmax(-1)
            return np.asarray(joint_value(target.mixer, window.state[s, b], np.eye(A)[best]))

        goal = returns_of(window, bootstrap, t, b)
        taken, state = np.eye(A)[window.actions[t, b]], window.state[t, b]
        critic.append((np.asarray(joint_value(params.mixer, state, taken)) - goal) ** 2)
        logits, avail = window.obs[t, b] @ params.agent, window.avail_actions[t, b]
        for i in agents:
            perturbed = np.where(avail[i], logits[i] - np.log(-np.log(noise[t, b, i])), -np.inf)
            mixed = taken.copy()
            mixed[i] = np.eye(A)[perturbed.argmax()]
            actor.append(np.asarray(joint_value(params.mixer, state, mixed)))
            sizes.append(np.mean(np.where(avail[i], logits[i], 0.0) ** 2))
    return np.mean(critic) - np.mean(actor) + 1e-3 * np.mean(sizes)


@pytest.mark.parametrize("shape", [(2, 2, 1), (7, 3, 2)])
def test_maddpgs_loss_equals_a_slow_loop_with_disjoint_gradients(shape):
    random = np.random.default_rng(sum(shape))
    window, num_agents = random_window(random, *shape, A), shape[-1]

    def some_params():
        weights = random.normal(size=(num_agents, A)).astype(np.float32)
        return NetworkParams(
            agent=random.normal(size=(4, A)).astype(np.float32), mixer=[weights, np.float32(0.3)]
        )

    params, target = some_params(), some_params()
    noise = random.random((shape[0] - 1, shape[1], num_agents, A)).astype(np.float32)

    @jax.jit
    def loss(params, critic_window_reward):
        changed = window.replace(reward=critic_window_reward)
        return maddpg_loss(
            params, target, changed, noise, agent_apply, joint_value,
            discount=GAMMA, td_lambda=LAMBDA,
        )[0]  # fmt: skip

    expected = slow_maddpg(params, target, window, noise)
    np.testing.assert_allclose(loss(params, window.reward), expected, rtol=1e-4)
    # Rewards move the critic only; the policies climb the critic as it is.
    one, two = (jax.grad(loss)(params, r) for r in (window.reward, window.reward + 5.0))
    np.testing.assert_allclose(one.agent, two.agent, rtol=1e-4, atol=1e-6)
    assert np.any(np.abs(one.mixer[0] - two.mixer[0]) > 1e-3)


def test_straight_through_is_a_sample_with_a_softmaxs_gradient():
    logits, avail = jnp.array([2.0, 0.0, 5.0]), jnp.array([True, True, False])
    noise = jax.random.uniform(jax.random.key(0), (20_000, 3))
    samples = jax.vmap(straight_through, in_axes=(0, None, None))(noise, logits, avail)
    np.testing.assert_allclose(jnp.sum(samples, axis=-1), 1.0, atol=1e-5)
    share = np.asarray(jnp.mean(samples, axis=0))
    np.testing.assert_allclose(share, [0.8808, 0.1192, 0.0], atol=0.01)  # softmax of 2 and 0
    one = noise[0]
    gradient = jax.grad(lambda x: straight_through(one, x, avail)[0])(logits)
    soft = jax.nn.softmax(jnp.where(avail, logits - jnp.log(-jnp.log(one)), -1e9))
    np.testing.assert_allclose(gradient, soft[0] * (jnp.eye(3)[0] - soft), atol=1e-5)
