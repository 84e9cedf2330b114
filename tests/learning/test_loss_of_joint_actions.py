"""What the loss tells a mixer about actions, and what a mixer may add to the loss."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from qllm_jax.learning import NetworkParams, td_loss
from qllm_jax.types import Window

T, B, N, A = 4, 2, 2, 3
WEIGHTS = np.arange(1.0, 1.0 + N * A, dtype=np.float32).reshape(N, A)


def tabular_agent(params, obs, reset):
    """Q-values that are the observations, scaled by the parameter."""
    return params * obs


def mixer_apply(params, agent_qs, state, joint):
    """A value in which every part of the joint action can be told from the others."""
    return (
        params
        * (
            jnp.sum(agent_qs)
            + jnp.sum(WEIGHTS * joint.actions)
            + 10.0 * jnp.sum(WEIGHTS * joint.greedy_actions)
            + 100.0 * jnp.sum(joint.greedy_qs)
        )[None]
    )


def slow_mix(q_table, avail, actions):
    """`mixer_apply` of one slot, with parameter 1."""
    total = 0.0
    for i in range(N):
        greedy = int(np.where(avail[i], q_table[i], -np.inf).argmax())
        total += q_table[i, actions[i]] + WEIGHTS[i, actions[i]]
        total += 10.0 * WEIGHTS[i, greedy] + 100.0 * q_table[i, greedy]
    return total


@pytest.fixture(scope="module")
def window():
    random = np.random.default_rng(0)
    shape = (T, B)
    avail = random.random((*shape, N, A)) < 0.6
    avail[..., 0] |= ~avail.any(-1)
    last = np.zeros(shape, bool)
    last[2, 0] = True  # one environment's episode ends inside the window
    terminated = np.zeros(shape, bool)
    terminated[1, 0] = True
    return Window(
        obs=random.normal(size=(*shape, N, A)).astype(np.float32),
        state=random.normal(size=(*shape, 2)).astype(np.float32),
        avail_actions=avail,
        actions=random.integers(0, A, (*shape, N)).astype(np.int32),
        reward=random.normal(size=shape).astype(np.float32),
        terminated=terminated,
        truncated=np.zeros(shape, bool),
        reset=np.zeros(shape, bool),
        last=last,
    )


def loss_of(window, online=1.0, target=-0.5, **settings):
    """The loss with an online agent that scales by `online`, and a target that does by `target`."""
    params = NetworkParams(agent=jnp.float32(online), mixer=jnp.float32(1.0))
    return td_loss(
        params,
        NetworkParams(agent=jnp.float32(target), mixer=jnp.float32(1.0)),
        jax.tree.map(jnp.asarray, window),
        tabular_agent,
        mixer_apply,
        discount=0.9,
        td_lambda=0.0,
        **settings,
    )[0]


def slow_loss(window, double_q, shift=0.0):
    """The mean squared error by the definition, with `shift` added to every online value."""
    errors = []
    for b in range(B):
        for t in range(T - 1):
            if window.last[t, b]:
                continue
            bootstrap, next_avail = -0.5 * window.obs[t + 1, b], window.avail_actions[t + 1, b]
            chooser = window.obs[t + 1, b] if double_q else bootstrap
            chosen = np.where(next_avail, chooser, -np.inf).argmax(-1)
            goal = window.reward[t, b]
            if not window.terminated[t, b]:
                goal += 0.9 * slow_mix(bootstrap, next_avail, chosen)
            value = slow_mix(window.obs[t, b], window.avail_actions[t, b], window.actions[t, b])
            errors.append(value + shift - goal)
    return np.mean(np.square(errors))


@pytest.mark.parametrize("double_q", [True, False])
def test_each_network_is_asked_for_its_own_greedy_actions(window, double_q):
    """The bootstrap mixes the selector's actions beside the target's own best ones."""
    expected = slow_loss(window, double_q)
    np.testing.assert_allclose(loss_of(window, double_q=double_q), expected, rtol=1e-4)


def test_extra_loss_is_averaged_over_slots_that_act(window):
    def extra(params, agent_qs, state, joint):
        return jnp.sum(state)

    acting = ~window.last[:-1]
    expected = window.state[:-1].sum(-1)[acting].mean()
    added = loss_of(window, double_q=True, extra_loss=extra) - loss_of(window, double_q=True)
    np.testing.assert_allclose(added, expected, atol=2e-3)  # a difference of losses near 10,000


def test_a_transform_changes_online_values_of_slots_that_act_alone(window):
    def transform(params, agent_qs, acting):
        return agent_qs + jnp.where(acting, 1.0, jnp.nan)[:, None]

    shifted = loss_of(window, double_q=True, transform=transform)
    np.testing.assert_allclose(shifted, slow_loss(window, True, shift=N), rtol=1e-4)
