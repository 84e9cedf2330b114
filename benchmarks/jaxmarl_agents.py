"""Networks that JaxMARL's scripts trained, as `Agent`s that can play here.

All of them are dense layers (with layer normalisation in PQN), a GRU, and dense layers after it;
`jaxmarl_driver.py` saves their parameters by name, and what they answer to random inputs.
"""

import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from qllm_jax.networks import Agent
from qllm_jax.networks.gru_weights import GruWeights
from qllm_jax.networks.recurrent import gru_step
from qllm_jax.types import Params

_LAYER_NORM_EPSILON = 1e-6  # flax's default


def read_agents(path: Path, num_agents: int, num_seeds: int) -> tuple[Agent, list[Params]]:
    """The network that a script trained, and its parameters seed by seed.

    Args:
        path: What `jaxmarl_driver.py --params` wrote.
        num_agents: N.
        num_seeds: S.

    Raises:
        AssertionError: The reading does not answer as the script's own network did.
    """
    saved = {name: jnp.asarray(leaf) for name, leaf in np.load(path).items()}
    probe_obs, probe_outputs = saved.pop("probe_obs"), saved.pop("probe_outputs")
    params = [{name: leaf[seed] for name, leaf in saved.items()} for seed in range(num_seeds)]
    hidden = jnp.zeros((probe_obs.shape[1], _width(params[0])))
    for obs, outputs in zip(probe_obs, probe_outputs, strict=True):
        hidden, ours = _step(params[0], hidden, obs)
        # Preferences of a policy mean the same with any constant added.
        centred = [values - values.mean(-1, keepdims=True) for values in (ours, outputs)]
        np.testing.assert_allclose(*centred, atol=1e-4)

    def step(
        params: Params, hidden: jax.Array, obs: jax.Array, reset: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        if obs.shape[-1] < probe_obs.shape[-1]:  # the script appends agents' ids
            ids = jnp.broadcast_to(jnp.eye(num_agents), (*obs.shape[:-1], num_agents))
            obs = jnp.concatenate([obs, ids], axis=-1)
        return _step(params, hidden * ~reset[:, None, None], obs)

    def initial_hidden(num_envs: int) -> jax.Array:
        return jnp.zeros((num_envs, num_agents, _width(params[0])))

    def nothing(*args: object) -> jax.Array:
        raise NotImplementedError("a network of JaxMARL's only plays here")

    return Agent(init=nothing, apply=nothing, step=step, initial_hidden=initial_hidden), params


def _step(params: Params, hidden: jax.Array, obs: jax.Array) -> tuple[jax.Array, jax.Array]:
    """One slot: `hidden [..., H]`, `obs [..., O]` to `(hidden, outputs [..., A])`."""
    num_dense = sum(name.startswith("Dense_") for name in params) // 2
    gru = _gru_prefix(params)
    num_before = next(
        index + 1
        for index in range(num_dense)
        # The layer that feeds the GRU is the last before it: PQN normalises all of these, and the
        # other scripts have one.
        if f"LayerNorm_{index + 1}/scale" not in params
    )

    def dense(index: int, inputs: jax.Array) -> jax.Array:
        return inputs @ params[f"Dense_{index}/kernel"] + params[f"Dense_{index}/bias"]

    features = obs
    for index in range(num_before):
        features = dense(index, features)
        if f"LayerNorm_{index}/scale" in params:
            centred = features - features.mean(-1, keepdims=True)
            variance = jnp.mean(centred**2, axis=-1, keepdims=True)
            features = centred / jnp.sqrt(variance + _LAYER_NORM_EPSILON)
            features *= params[f"LayerNorm_{index}/scale"]
            features += params[f"LayerNorm_{index}/bias"]
        features = jax.nn.relu(features)

    def gates(source: str, kind: str) -> jax.Array:
        leaves = [params[f"{gru}/{source}{gate}/{kind}"] for gate in "rzn"]
        return jnp.concatenate(leaves, axis=-1)

    weights = GruWeights(
        input=gates("i", "kernel"),
        input_bias=gates("i", "bias"),
        hidden=gates("h", "kernel"),
        hidden_bias=params[f"{gru}/hn/bias"],
    )
    hidden = gru_step(features, hidden, weights)
    outputs = dense(num_before, hidden)
    for index in range(num_before + 1, num_dense):
        outputs = dense(index, jax.nn.relu(outputs))
    return hidden, outputs


def _gru_prefix(params: Params) -> str:
    """The GRU's name, which flax numbers differently in different scripts."""
    (prefix,) = {found[1] for name in params if (found := re.match(r"(.*)/hn/bias", name))}
    return prefix


def _width(params: Params) -> int:
    return int(params[f"{_gru_prefix(params)}/hn/bias"].shape[0])
