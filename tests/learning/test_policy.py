"""Policies over available actions, and the actor-critic's loss against a slow loop."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from random_windows import random_window

from qllm_jax.learning import (
    NetworkParams,
    local_values,
    policy_loss,
    prepare_policy_batch,
    sample_actions,
)
from qllm_jax.learning.policy import available_log_probs, entropy

A, GAMMA, LAMBDA = 3, 0.9, 0.7
CLIP, VALUE, ENTROPY = 0.2, 0.5, 0.1


def agent_apply(params, obs, reset):
    """Outputs that are linear in the observation."""
    return obs @ params


def shared_critic(params, values, state, reset):
    """`[T, B, 1]`, with a memory: it counts the slots since the reset."""
    slots = jnp.arange(reset.shape[0])[:, None]
    count = slots - jax.lax.cummax(jnp.where(reset, slots, 0), axis=0)
    return (jnp.sum(params * values, axis=-1) + jnp.sum(state, axis=-1) + 0.1 * count)[..., None]


def own_critics(params, values, state, reset):
    return params * values


def slow_log_probs(logits, avail):
    shifted = np.where(avail, logits, -np.inf)
    return shifted - np.log(np.sum(np.exp(shifted)))


def slow_parts(params, window, shared):
    """Per slot that acts: log π [N], entropy [N], V [M], and G [M] by its recursive definition."""
    num_slots, num_envs, num_agents = window.obs.shape[:3]
    outputs = window.obs @ params.agent

    def value(t, b):
        if shared:
            count = next(n for n in range(t + 1) if window.reset[t - n, b])
            linear = np.sum(params.mixer * outputs[t, b, :, -1]) + window.state[t, b].sum()
            return np.array([linear + 0.1 * count])
        return params.mixer * outputs[t, b, :, -1]

    def target(t, b):
        reward, after = window.reward[t, b], value(t + 1, b)
        if window.terminated[t, b]:
            return reward + 0.0 * after
        if window.truncated[t, b] or t == num_slots - 2:
            return reward + GAMMA * after
        return reward + GAMMA * ((1 - LAMBDA) * after + LAMBDA * target(t + 1, b))

    parts = {}
    for b in range(num_envs):
        for t in range(num_slots - 1):
            if window.last[t, b]:
                continue
            log_pi, entropies = [], []
            for i in range(num_agents):
                log_probs = slow_log_probs(outputs[t, b, i, :-1], window.avail_actions[t, b, i])
                log_pi.append(log_probs[window.actions[t, b, i]])
                p = np.exp(log_probs[np.isfinite(log_probs)])
                entropies.append(-np.sum(p * np.log(p)))
            parts[t, b] = np.array(log_pi), np.array(entropies), value(t, b), target(t, b)
    return parts


def slow_loss(params, old_params, window, shared):
    new, old = slow_parts(params, window, shared), slow_parts(old_params, window, shared)
    advantages = {key: old[key][3] - old[key][2] for key in old}
    flat = np.array(list(advantages.values()))
    actor, critic, entropies = [], [], []
    for key in new:
        standard = (advantages[key] - flat.mean()) / (flat.std() + 1e-8)
        for i in range(len(new[key][0])):
            ratio = np.exp(new[key][0][i] - old[key][0][i])
            a = standard[0] if shared else standard[i]
            actor.append(min(ratio * a, np.clip(ratio, 1 - CLIP, 1 + CLIP) * a))
            entropies.append(new[key][1][i])
        critic.extend((new[key][2] - old[key][3]) ** 2)
    return -np.mean(actor) + VALUE * 0.5 * np.mean(critic) - ENTROPY * np.mean(entropies)


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("shape", [(2, 2, 1), (7, 3, 2)])
def test_loss_equals_a_slow_loop(shape, shared):
    random = np.random.default_rng(sum(shape))
    window = random_window(random, *shape, A)
    old, params = (
        NetworkParams(
            agent=random.normal(size=(4, A + 1)).astype(np.float32),
            mixer=random.normal(size=shape[-1]).astype(np.float32),
        )
        for _ in range(2)
    )
    critic = shared_critic if shared else own_critics

    @jax.jit
    def loss(params, old, window):
        batch = prepare_policy_batch(
            old, window, agent_apply, critic, discount=GAMMA, td_lambda=LAMBDA
        )
        return policy_loss(
            params,
            batch,
            agent_apply,
            critic,
            clip_epsilon=CLIP,
            value_coef=VALUE,
            entropy_coef=ENTROPY,
        )[0]

    expected = slow_loss(params, old, window, shared)
    np.testing.assert_allclose(loss(params, old, window), expected, rtol=1e-4)
    gradient = jax.grad(loss)(params, old, window)
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(gradient))


def test_unavailable_actions_have_no_probability_entropy_or_gradient():
    logits, avail = jnp.array([1.0, 5.0, 1.0]), jnp.array([True, False, True])
    log_probs = available_log_probs(logits, avail)
    np.testing.assert_allclose(jnp.exp(log_probs), [0.5, 0.0, 0.5], atol=1e-6)
    np.testing.assert_allclose(entropy(log_probs, avail), np.log(2.0), rtol=1e-6)
    gradient = jax.grad(lambda logits: entropy(available_log_probs(logits, avail), avail))(logits)
    np.testing.assert_allclose(gradient, [0.0, 0.0, 0.0], atol=1e-6)


def test_samples_follow_the_policy():
    # π = (0.2, 0.3, 0.5), and (2, 0, 5) / 7 where the middle action is missing; the last output
    # is the agent's value and no preference.
    outputs = jnp.log(jnp.array([0.2, 0.3, 0.5]))
    outputs = jnp.append(outputs, 100.0)
    noise = jax.random.uniform(jax.random.key(0), (20_000, A + 1))
    for avail, expected in (([1, 1, 1], [0.2, 0.3, 0.5]), ([1, 0, 1], [2 / 7, 0, 5 / 7])):
        actions = sample_actions(noise, outputs, jnp.array(avail, bool), jnp.float32(1.0))
        share = np.bincount(actions, minlength=A) / len(actions)
        np.testing.assert_allclose(share, expected, atol=0.015)
    assert local_values(outputs, actions) == 100.0


def test_noise_of_zero_is_no_accident():
    outputs = jnp.array([0.0, 0.0, 1.0, 3.0])
    noise = jnp.zeros(A + 1)
    assert int(sample_actions(noise, outputs, jnp.ones(A, bool), jnp.float32(0.0))) == 2
