"""The loss of a batch of windows against a slow loop, with boundaries inside the windows."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from qllm_jax.learning import NetworkParams, td_loss
from qllm_jax.types import Window

OBS, ACTIONS = 3, 4


def agent_apply(params, obs, reset):
    """A linear agent with a memory: the sum of what it saw since the last reset."""

    def body(memory, slot):
        obs_t, reset_t = slot
        memory = jnp.where(reset_t[:, None, None], 0.0, memory) + obs_t
        return memory, memory @ params

    return jax.lax.scan(body, jnp.zeros_like(obs[0]), (obs, reset))[1]


def mixer_apply(params, agent_qs, state, joint):
    """Two values, so that the value axis is exercised: a weighted sum and its square root."""
    q_tot = jnp.sum(params * agent_qs) + jnp.sum(state)
    return jnp.stack([q_tot, 0.5 * q_tot])


def random_window(random, num_slots, num_envs, num_agents):
    """A window whose episodes end at random, terminated or truncated."""
    shape = (num_slots, num_envs)
    last, terminated, truncated = (np.zeros(shape, bool) for _ in range(3))
    reset = np.zeros(shape, bool)
    reset[0] = True
    for b in range(num_envs):
        for t in range(num_slots - 1):
            if last[t, b]:
                reset[t + 1, b] = True
            elif random.random() < 0.4:
                (terminated if random.random() < 0.5 else truncated)[t, b] = True
                last[t + 1, b] = True
    avail = random.random((*shape, num_agents, ACTIONS)) < 0.6
    avail[..., 0] |= ~avail.any(-1)
    normal = lambda *sizes: random.normal(size=(*shape, *sizes)).astype(np.float32)  # noqa: E731
    return Window(
        obs=normal(num_agents, OBS),
        state=normal(2),
        avail_actions=avail,
        actions=random.integers(0, ACTIONS, (*shape, num_agents)).astype(np.int32),
        reward=normal(),
        terminated=terminated,
        truncated=truncated,
        reset=reset,
        last=last,
    )


def slow_q(params, window, b):
    """`[T, N, A]` of one environment, one slot after the other."""
    memory, values = 0.0, []
    for t in range(len(window.reward)):
        memory = (0.0 if window.reset[t, b] else memory) + window.obs[t, b]
        values.append(memory @ params)
    return np.stack(values)


def slow_loss(params, target, window, discount, double_q):
    """One-step loss by the definition."""
    errors = []
    for b in range(window.reward.shape[1]):
        online, bootstrap = slow_q(params.agent, window, b), slow_q(target.agent, window, b)
        for t in range(len(window.reward) - 1):
            if window.last[t, b]:
                continue
            chooser = online if double_q else bootstrap
            best = np.where(window.avail_actions[t + 1, b], chooser[t + 1], -np.inf).argmax(-1)
            agents = np.arange(len(best))
            future = np.sum(target.mixer * bootstrap[t + 1, agents, best])
            future += window.state[t + 1, b].sum()
            chosen = np.sum(params.mixer * online[t, agents, window.actions[t, b]])
            chosen += window.state[t, b].sum()
            for factor in (1.0, 0.5):  # the mixer's two values
                value = window.reward[t, b]
                if not window.terminated[t, b]:
                    value += discount * factor * future
                errors.append(factor * chosen - value)
    return np.mean(np.square(errors)) if errors else 0.0


@pytest.mark.parametrize("double_q", [True, False])
@pytest.mark.parametrize("shape", [(2, 1, 1), (6, 3, 2), (9, 2, 3), (4, 5, 1)])
def test_loss_equals_a_slow_loop(shape, double_q):
    random = np.random.default_rng(sum(shape))
    window = random_window(random, *shape)
    params, target = (
        NetworkParams(
            agent=random.normal(size=(OBS, ACTIONS)).astype(np.float32),
            mixer=random.normal(size=shape[-1]).astype(np.float32),
        )
        for _ in range(2)
    )
    loss, metrics = td_loss(
        params,
        target,
        jax.tree.map(jnp.asarray, window),
        agent_apply,
        mixer_apply,
        discount=0.9,
        td_lambda=0.0,
        double_q=double_q,
    )
    expected = slow_loss(params, target, window, 0.9, double_q)
    np.testing.assert_allclose(loss, expected, rtol=1e-4)
    np.testing.assert_allclose(metrics.loss, loss)


def test_what_a_last_slot_holds_does_not_matter():
    random = np.random.default_rng(3)
    window = random_window(random, 9, 4, 2)
    params = NetworkParams(agent=jnp.ones((OBS, ACTIONS)), mixer=jnp.ones(2))

    def gradient(window):
        return jax.grad(
            lambda params: td_loss(
                params,
                params,
                jax.tree.map(jnp.asarray, window),
                agent_apply,
                mixer_apply,
                discount=0.9,
                td_lambda=0.5,
                double_q=True,
            )[0]
        )(params)

    assert window.last.any()
    junk = window.replace(
        reward=np.where(window.last, np.nan, window.reward),
        actions=np.where(window.last[..., None], 3, window.actions),
    )
    jax.tree.map(np.testing.assert_allclose, gradient(junk), gradient(window))


def test_no_gradient_reaches_the_target():
    window = random_window(np.random.default_rng(5), 4, 2, 2)
    params = NetworkParams(agent=jnp.ones((OBS, ACTIONS)), mixer=jnp.ones(2))
    gradient = jax.grad(
        lambda target: td_loss(
            params,
            target,
            jax.tree.map(jnp.asarray, window),
            agent_apply,
            mixer_apply,
            discount=0.9,
            td_lambda=0.5,
            double_q=False,
        )[0]
    )(params)
    assert all(not leaf.any() for leaf in jax.tree.leaves(gradient))
