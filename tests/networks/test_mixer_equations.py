"""Mixers against slow NumPy, written from the papers' equations."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from qllm_jax.config import MixerConfig
from qllm_jax.learning import joint_action, take_actions
from qllm_jax.networks import MixerHyper, make_mixer

HYPER = MixerHyper(scale=jnp.float32(1.0), candidate=jnp.int32(0))
SIZES = [(1, 2, 1), (4, 3, 7)]  # N, A, D


def mlp(params, inputs):
    """Dense layers in order, ReLU between them."""
    layers = [params[name] for name in sorted(params)]
    for index, layer in enumerate(layers):
        inputs = inputs @ np.asarray(layer["kernel"]) + np.asarray(layer["bias"])
        if index + 1 < len(layers):
            inputs = np.maximum(inputs, 0.0)
    return inputs


def setting(name, sizes, **config):
    """A mixer with random parameters, and one random joint action of its team."""
    num_agents, num_actions, state_dim = sizes
    mixer = make_mixer(
        MixerConfig(name=name, qatten_key_dim=4, qplex_hidden_dim=6, **config),
        num_agents,
        state_dim,
        [lambda agent_qs, state: jnp.sum(agent_qs) + state[0]],
        num_actions,
    )
    keys = jax.random.split(jax.random.key(sum(sizes)), 4)
    params = jax.jit(mixer.init)(keys[0])
    q_table = jax.random.normal(keys[1], (num_agents, num_actions))
    state = jax.random.normal(keys[2], (state_dim,))
    actions = jax.random.randint(keys[3], (num_agents,), 0, num_actions)
    return mixer, params, np.asarray(q_table), np.asarray(state), np.asarray(actions)


def regressed(mixer, params, q_table, state, actions):
    """The regressed value and the extra loss, compiled as one."""

    @jax.jit
    def both(params, q_table, state, actions):
        joint = joint_action(q_table, np.ones(q_table.shape, bool), actions)
        inputs = (params, take_actions(q_table, actions), state, HYPER, joint)
        extra = mixer.extra_loss(*inputs) if mixer.extra_loss is not None else jnp.zeros(())
        return mixer.regressed(*inputs), extra

    return both(params, q_table, state, actions)


def sigmoid(x):
    return 1.0 / (1.0 + np.exp(-x))


@pytest.mark.parametrize("sizes", SIZES)
def test_qatten(sizes):
    mixer, params, q_table, state, actions = setting("qatten", sizes, qatten_heads=3)
    num_agents = sizes[0]
    q_tot = mlp(params["constant"], state)[0]
    query = mlp(params["query"], state).reshape(3, 4)
    head_weights = np.abs(mlp(params["head_weight"], state))
    for head in range(3):
        scores = np.array(
            [params["key"][i, head] @ query[head] / np.sqrt(4) for i in range(num_agents)]
        )
        attention = np.exp(scores) / np.sum(np.exp(scores))
        for i in range(num_agents):
            q_tot += head_weights[head] * attention[i] * q_table[i, actions[i]]
    value, _ = regressed(mixer, params, q_table, state, actions)
    np.testing.assert_allclose(value, [q_tot], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("sizes", SIZES)
def test_qplex_is_values_plus_weighted_advantages(sizes):
    """Q_tot = Σ V_i + Σ λ_i A_i, the duelling form; ours adds up the same in another order."""
    mixer, params, q_table, state, actions = setting("qplex", sizes, qplex_heads=3)
    num_agents, num_actions, _ = sizes
    scale = np.abs(mlp(params["transformation"]["scale"], state)) + 1e-10
    shift = mlp(params["transformation"]["shift"], state)
    both = np.concatenate([state, np.eye(num_actions)[actions].reshape(-1)])
    importance = params["importance"]
    keys = np.abs(mlp(importance["keys"], state)) + 1e-10
    by_state = sigmoid(mlp(importance["agents"], state)).reshape(num_agents, 3)
    by_action = sigmoid(mlp(importance["actions"], both)).reshape(num_agents, 3)
    q_tot = 0.0
    for i in range(num_agents):
        best = scale[i] * np.max(q_table[i]) + shift[i]
        advantage = scale[i] * q_table[i, actions[i]] + shift[i] - best
        weight = sum(keys[k] * by_state[i, k] * by_action[i, k] for k in range(3))
        q_tot += best + weight * advantage
    value, _ = regressed(mixer, params, q_table, state, actions)
    np.testing.assert_allclose(value, [q_tot], rtol=1e-4, atol=1e-4)


def test_qplex_lets_no_gradient_through_advantages():
    mixer, params, q_table, state, actions = setting("qplex", (2, 3, 4))

    def total(q_table):
        return regressed(mixer, params, q_table, state, actions)[0][0]

    scale = np.abs(mlp(params["transformation"]["scale"], state)) + 1e-10
    expected = np.eye(3)[actions] * scale[:, None]
    np.testing.assert_allclose(jax.grad(total)(q_table), expected, rtol=1e-5)


@pytest.mark.parametrize("sizes", SIZES)
def test_qtran(sizes):
    weights = {"qtran_opt_weight": 2.0, "qtran_nopt_weight": 0.5}
    mixer, params, q_table, state, actions = setting("qtran", sizes, qtran_hidden_dim=5, **weights)
    choices = np.eye(sizes[1])

    def joint_value(chosen):
        both = np.concatenate([state, choices[chosen].reshape(-1)])
        return mlp(params["joint"], both)[0]

    greedy = np.argmax(q_table, axis=1)
    value = mlp(params["value"], state)[0]
    rows = np.arange(sizes[0])
    opt = (q_table[rows, greedy].sum() - joint_value(greedy) + value) ** 2
    nopt = min(q_table[rows, actions].sum() - joint_value(actions) + value, 0.0) ** 2
    got, extra = regressed(mixer, params, q_table, state, actions)
    np.testing.assert_allclose(got, [joint_value(actions)], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(extra, 2.0 * opt + 0.5 * nopt, rtol=1e-5, atol=1e-5)


def test_qtran_regresses_its_joint_value_by_the_reward_alone():
    """The extra loss teaches the agents and V; Q_jt must not be pulled towards them."""
    mixer, params, q_table, state, actions = setting("qtran", (2, 3, 4))

    def extra(params):
        return regressed(mixer, params, q_table, state, actions)[1]

    by_param = jax.grad(extra)(params)
    assert all(np.all(leaf == 0) for leaf in jax.tree.leaves(by_param["joint"]))
    assert any(np.any(leaf != 0) for leaf in jax.tree.leaves(by_param["value"]))


def test_tfcaf_residual_is_the_tfcaf_at_first_and_then_corrects_its_credits():
    mixer, params, q_table, state, actions = setting("tfcaf_residual", (2, 3, 4))
    agent_qs = q_table[[0, 1], actions]
    base = agent_qs.sum() + state[0]
    assert mixer.apply(params, agent_qs, state, HYPER)[0] == jnp.float32(base)
    # w = (0.5, -0.25) and b = 2, from the last layer's bias while its kernel is zero
    params["Dense_1"]["bias"] = jnp.array([0.5, -0.25, 2.0])
    corrected = base + 0.5 * agent_qs[0] - 0.25 * agent_qs[1] + 2.0
    credit = jax.grad(lambda qs: mixer.apply(params, qs, state, HYPER)[0])(agent_qs)
    np.testing.assert_allclose(mixer.apply(params, agent_qs, state, HYPER), [corrected], rtol=1e-6)
    np.testing.assert_allclose(credit, [1.5, 0.75], rtol=1e-6)


def test_rqn_shifts_each_agent_by_one_number_per_trajectory():
    mixer, params, _, _, _ = setting("rqn", (3, 2, 4), rqn_hidden_dim=5)
    agent_qs = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    acting = np.array([True, True, False, True, True])
    played = agent_qs[acting]
    residual = mlp(params, np.concatenate([played.mean(axis=0), played.max(axis=0)]))
    got = jax.jit(mixer.transform)(params, agent_qs, acting)
    np.testing.assert_allclose(got, agent_qs + residual, rtol=1e-5, atol=1e-5)
    nobody = jax.jit(mixer.transform)(params, agent_qs, np.zeros(5, bool))
    np.testing.assert_allclose(nobody, agent_qs + mlp(params, np.zeros(6)), rtol=1e-5, atol=1e-5)
