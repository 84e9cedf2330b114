"""The agents' network against slow NumPy, its gradient against autodiff, and its two views."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from qllm_jax.config import AgentConfig
from qllm_jax.networks import gru_kernel, make_agent
from qllm_jax.networks.gru_weights import GruWeights
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
    x, keep, weights = gru_case(jax.random.key(2), 4, H)
    expected = jax.jit(jax.grad(steps_total, argnums=(0, 2)))(x, keep, weights)
    ours = jax.jit(jax.grad(sequence_total(gru_sequence), argnums=(0, 2)))(x, keep, weights)
    chex.assert_trees_all_close(ours, expected, atol=2e-5)


@pytest.mark.parametrize("rows", [32, 20])
def test_the_gpu_kernels_agree_with_steps_run_by_run(rows):
    # Pallas's interpreter runs the kernels here; the test below runs them compiled.
    case = gru_cases(rows, 16)
    fused = sequence_total(lambda *args: gru_kernel.fused_gru(*args, True))
    with jax.default_matmul_precision("highest"):
        for of in (lambda total: total, lambda total: jax.grad(total, argnums=(0, 2))):
            got, expected = (jax.vmap(of(total))(*case) for total in (fused, steps_total))
            chex.assert_trees_all_close(got, expected, rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize(("rows", "width"), [(96, 64), (20, 32), (24, 16)])
@pytest.mark.skipif(jax.default_backend() != "gpu", reason="needs a GPU: JAX_PLATFORMS=cuda,cpu")
def test_on_a_gpu_the_kernels_agree_with_float32_to_the_rounding_of_tf32(rows, width):
    case = gru_cases(rows, width)
    assert gru_kernel.usable(width)
    fused = sequence_total(lambda *args: gru_kernel.fused_gru(*args))
    got = jax.jit(jax.vmap(jax.grad(fused, argnums=(0, 2))))(*case)
    with jax.default_matmul_precision("highest"):
        assert not gru_kernel.usable(width)
        expected = jax.jit(jax.vmap(jax.grad(steps_total, argnums=(0, 2))))(*case)
    for ours, exact in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
        assert jnp.linalg.norm(ours - exact) < 3e-3 * jnp.linalg.norm(exact)


def test_the_kernels_lower_for_a_gpu_from_here():
    gradients = jax.vmap(jax.grad(sequence_total(gru_kernel.fused_gru), argnums=(0, 2)))
    lowered = jax.jit(gradients).trace(*gru_cases(96, 64)).lower(lowering_platforms=("cuda",))
    assert lowered.as_text().count("triton") >= 2  # forward and backward


def gru_cases(rows, width):
    keys = jax.random.split(jax.random.key(3), 2)
    return jax.vmap(lambda key: gru_case(key, rows, width))(keys)


def gru_case(key, rows, width):
    keys = jax.random.split(key, 6)
    weights = GruWeights(
        input=jax.random.normal(keys[0], (width, 3 * width)) / width**0.5,
        input_bias=jax.random.normal(keys[1], (3 * width,)),
        hidden=jax.random.normal(keys[2], (width, 3 * width)) / width**0.5,
        hidden_bias=jax.random.normal(keys[3], (width,)),
    )
    keep = (jax.random.uniform(keys[4], (5, rows)) < 0.7).astype(jnp.float32)
    return jax.random.normal(keys[5], (5, rows, width)), keep, weights


def steps_total(x, keep, weights):
    hidden, seen = jnp.zeros(x.shape[1:]), []
    for x_t, keep_t in zip(x, keep, strict=True):
        hidden = gru_step(x_t, hidden * keep_t[:, None], weights)
        seen.append(hidden)
    return jnp.sum(jnp.sin(jnp.stack(seen)))


def sequence_total(sequence):
    return lambda x, keep, weights: jnp.sum(jnp.sin(sequence(x, keep, weights)))


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
