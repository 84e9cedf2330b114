"""The agents' network against slow NumPy, its gradient against autodiff, and its two views."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from qllm_jax.config import AgentConfig
from qllm_jax.networks import make_agent
from qllm_jax.networks.recurrent import gru_sequence, gru_step

N, A, F, H = 3, 4, 5, 6


@pytest.fixture(scope="module")
def agent():
    return make_agent(AgentConfig(hidden_dim=H), N, A, (F,))


@pytest.fixture(scope="module")
def params(agent):
    return jax.jit(agent.init)(jax.random.key(0))


def random_inputs(num_slots=7, num_envs=2):
    random = np.random.default_rng(1)
    obs = random.normal(size=(num_slots, num_envs, N, F)).astype(np.float32)
    reset = random.random((num_slots, num_envs)) < 0.3
    reset[0], reset[3, 0], reset[3, 1] = True, True, False
    return obs, reset


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def slow_q_values(params, obs, reset):
    """One agent of one environment at a time."""
    p = jax.tree.map(np.asarray, params)
    num_slots, num_envs = reset.shape
    q_values = np.zeros((num_slots, num_envs, N, A))
    for b in range(num_envs):
        for i in range(N):
            hidden = np.zeros(H)
            for t in range(num_slots):
                if reset[t, b]:
                    hidden = np.zeros(H)
                seen = np.concatenate([obs[t, b, i], np.eye(N)[i]])
                embedded = np.maximum(seen @ p["embed"] + p["embed_bias"], 0)
                gate = np.split(embedded @ p["gru_input"] + p["gru_input_bias"], 3)
                back = np.split(hidden @ p["gru_hidden"], 3)
                r, z = sigmoid(gate[0] + back[0]), sigmoid(gate[1] + back[1])
                n = np.tanh(gate[2] + r * (back[2] + p["gru_hidden_bias"]))
                hidden = (1 - z) * n + z * hidden
                q_values[t, b, i] = hidden @ p["head"]["kernel"] + p["head"]["bias"]
    return q_values


def test_a_sequence_equals_a_slow_loop(agent, params):
    obs, reset = random_inputs()
    expected = slow_q_values(params, obs, reset)
    np.testing.assert_allclose(agent.apply(params, obs, reset), expected, atol=2e-5)


def test_acting_slot_by_slot_equals_the_sequence(agent, params):
    obs, reset = random_inputs()
    hidden, seen = agent.initial_hidden(2), []
    for obs_t, reset_t in zip(obs, reset, strict=True):
        hidden, q_values = agent.step(params, hidden, obs_t, reset_t)
        seen.append(q_values)
    np.testing.assert_allclose(jnp.stack(seen), agent.apply(params, obs, reset), atol=1e-6)


def test_a_reset_forgets(agent, params):
    obs, reset = random_inputs()
    other = np.copy(obs)
    other[:3] += 1.0  # slot 3 of environment 0 is a reset; of environment 1 it is not
    before, after = agent.apply(params, obs, reset), agent.apply(params, other, reset)
    np.testing.assert_array_equal(before[3:, 0], after[3:, 0])
    assert np.all(np.any(np.asarray(before[3:4, 1]) != np.asarray(after[3:4, 1]), axis=-1))


def test_the_written_gradient_is_autodiffs():
    keys = jax.random.split(jax.random.key(2), 4)
    arrays = (
        jax.random.normal(keys[0], (5, 4, 3 * H)),
        jax.random.normal(keys[1], (H, 3 * H)),
        jax.random.normal(keys[2], (H,)),
    )
    keep = (jax.random.uniform(keys[3], (5, 4)) < 0.7).astype(jnp.float32)

    def plain(inputs, kernel, bias):
        hidden, seen = jnp.zeros((4, H)), []
        for inputs_t, keep_t in zip(inputs, keep, strict=True):
            hidden, _ = gru_step(inputs_t, hidden * keep_t[:, None], kernel, bias)
            seen.append(hidden)
        return jnp.sum(jnp.sin(jnp.stack(seen)))

    def ours(inputs, kernel, bias):
        return jnp.sum(jnp.sin(gru_sequence(inputs, keep, kernel, bias)))

    expected = jax.jit(jax.grad(plain, argnums=(0, 1, 2)))(*arrays)
    got = jax.jit(jax.grad(ours, argnums=(0, 1, 2)))(*arrays)
    for a, b in zip(got, expected, strict=True):
        np.testing.assert_allclose(a, b, atol=2e-5)


def test_initialisation_is_orthogonal_gate_by_gate(params):
    for block in np.split(np.asarray(params["gru_hidden"]), 3, axis=1):
        np.testing.assert_allclose(block.T @ block, np.eye(H), atol=1e-5)
    embed = np.asarray(params["embed"])  # [F + N, H]
    np.testing.assert_allclose(embed.T @ embed, np.eye(H), atol=1e-5)
    biases = ("embed_bias", "gru_input_bias", "gru_hidden_bias")
    assert all(not np.any(params[name]) for name in biases)


def test_agents_without_an_id_and_with_image_observations():
    agent = make_agent(AgentConfig(hidden_dim=H, append_agent_id=False), 2, A, (2, 2, 3))
    params = agent.init(jax.random.key(0))
    assert params["embed"].shape == (12, H)
    obs = jnp.tile(jax.random.normal(jax.random.key(1), (2, 1, 1, 2, 2, 3)), (1, 1, 2, 1, 1, 1))
    q_values = agent.apply(params, obs, jnp.zeros((2, 1), bool))
    np.testing.assert_array_equal(q_values[:, :, 0], q_values[:, :, 1])  # same sight, same values


def test_layers_before_the_head_and_outputs_beside_the_actions():
    """A policy starts out almost uniform; a value beside it starts out as it always does."""
    config = AgentConfig(hidden_dim=H, num_head_layers=1, head_init_scale=0.01)
    agent = make_agent(config, N, A, (F,), num_values=1)
    params = jax.jit(agent.init)(jax.random.key(0))
    kernel = params["head"]["kernel"]  # orthogonal columns, of which A are scaled
    np.testing.assert_allclose(np.linalg.norm(kernel, axis=0), [0.01] * A + [1.0], rtol=1e-5)
    obs, reset = random_inputs()
    features = params | {"head": {"kernel": jnp.eye(H), "bias": jnp.zeros(H)}}
    plain = make_agent(AgentConfig(hidden_dim=H), N, H, (F,))
    hidden = plain.apply({k: v for k, v in features.items() if k != "head_0"}, obs, reset)
    layer = {name: np.asarray(leaf) for name, leaf in params["head_0"].items()}
    expected = np.maximum(hidden @ layer["kernel"] + layer["bias"], 0) @ kernel
    np.testing.assert_allclose(agent.apply(params, obs, reset), expected, atol=1e-5)
