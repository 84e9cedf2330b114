"""An agent whose embedding is normalised: what learners without a target network rely on."""

import jax
import jax.numpy as jnp
import numpy as np

from qllm_jax.config import AgentConfig
from qllm_jax.networks import make_agent

N, A, F, H = 2, 3, 4, 5


def test_the_scale_of_the_embedding_does_not_matter_and_both_views_agree():
    agent = make_agent(AgentConfig(hidden_dim=H, layer_norm=True), N, A, (F,))
    params = jax.jit(agent.init)(jax.random.key(0))
    assert params["embed_norm"]["scale"].shape == (H,)
    obs = jax.random.normal(jax.random.key(1), (3, 2, N, F))
    reset = jnp.zeros((3, 2), bool).at[0].set(True)

    @jax.jit
    def both(params):
        hidden, steps = agent.initial_hidden(2), []
        for t in range(3):
            hidden, q_values = agent.step(params, hidden, obs[t], reset[t])
            steps.append(q_values)
        return agent.apply(params, obs, reset), jnp.stack(steps)

    sequence, steps = both(params)
    np.testing.assert_allclose(sequence, steps, rtol=1e-5, atol=1e-6)
    scaled = {**params, "embed": 10.0 * params["embed"], "embed_bias": 10.0 * params["embed_bias"]}
    np.testing.assert_allclose(both(scaled)[0], sequence, rtol=1e-3, atol=1e-4)
