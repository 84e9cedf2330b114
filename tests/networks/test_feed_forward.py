"""Agents without memory: dense layers, and convolutions before them for images."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from qllm_jax.compose import compose_config
from qllm_jax.config import AgentConfig
from qllm_jax.errors import UserError
from qllm_jax.networks import make_agent

N, A, H = 2, 4, 6


@pytest.mark.parametrize(
    ("kind", "obs_shape"), [("mlp", (5,)), ("mlp", (2, 3)), ("cnn", (4, 5, 3))]
)
def test_it_sees_one_slot_at_a_time(kind, obs_shape):
    """A slot's values depend on that slot only, and both views agree."""
    agent = make_agent(AgentConfig(name=kind, hidden_dim=H), N, A, obs_shape)
    params = jax.jit(agent.init)(jax.random.key(0))
    obs = jax.random.normal(jax.random.key(1), (3, 2, N, *obs_shape))
    reset = jnp.zeros((3, 2), bool)
    values = agent.apply(params, obs, reset)
    assert values.shape == (3, 2, N, A)
    np.testing.assert_array_equal(agent.apply(params, obs, ~reset), values)
    hidden = agent.initial_hidden(2)
    assert hidden.shape == (2, N, 0)
    for t in range(3):
        hidden, step_values = agent.step(params, hidden, obs[t], reset[t])
        np.testing.assert_allclose(step_values, values[t], rtol=2e-5, atol=1e-6)
    # Its id is all that tells one agent from the other.
    same = jnp.broadcast_to(obs[:, :, :1], obs.shape)
    told_apart = agent.apply(params, same, reset)
    assert np.any(np.abs(told_apart[:, :, 0] - told_apart[:, :, 1]) > 1e-4)
    blind = make_agent(AgentConfig(name=kind, hidden_dim=H, append_agent_id=False), N, A, obs_shape)
    alike = blind.apply(jax.jit(blind.init)(jax.random.key(0)), same, reset)
    np.testing.assert_allclose(alike[:, :, 0], alike[:, :, 1], rtol=1e-5)


def test_dense_layers_by_hand():
    agent = make_agent(AgentConfig(name="mlp", hidden_dim=H, append_agent_id=False), N, A, (5,))
    params = jax.jit(agent.init)(jax.random.key(0))
    obs = np.asarray(jax.random.normal(jax.random.key(1), (1, 1, N, 5)))
    p = jax.tree.map(np.asarray, params)
    hidden = np.maximum(obs @ p["embed"] + p["embed_bias"], 0)
    hidden = np.maximum(hidden @ p["Dense_0"]["kernel"] + p["Dense_0"]["bias"], 0)
    expected = hidden @ p["head"]["kernel"] + p["head"]["bias"]
    values = agent.apply(params, obs, np.zeros((1, 1), bool))
    np.testing.assert_allclose(values, expected, rtol=1e-5, atol=1e-6)


def test_convolutions_need_images():
    with pytest.raises(UserError, match=r"shape \[5\]. Use agent=rnn or agent=mlp"):
        make_agent(AgentConfig(name="cnn"), N, A, (5,))


def test_the_command_line_chooses_it():
    assert [compose_config([f"agent={name}"]).agent.name for name in ("rnn", "mlp", "cnn")] == [
        "rnn", "mlp", "cnn",
    ]  # fmt: skip
