"""QPLEX: duelling mixing, which can represent every value whose best joint action is each agent's.

The class of such values is what IGM allows, so it is larger than that of monotone mixers: the
weight of an agent's advantage may depend on what the others did.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from qllm_jax.config import MixerConfig
from qllm_jax.networks.mixer import Mixer, MixerHyper, TeamSizes
from qllm_jax.networks.mlp import Mlp
from qllm_jax.types import JointAction, Params, TfcafFunction

_SMALLEST_WEIGHT = 1e-10  # keeps w and λ positive, so that an advantage keeps its sign


class Transformation(nn.Module):
    """Scale and shift every agent's values by the state: w_i(s) > 0 and b_i(s)."""

    num_agents: int
    hidden_dim: int

    @nn.compact
    def __call__(self, state: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Map `state [D]` to w `[N]` and b `[N]`."""
        scale = Mlp((self.hidden_dim, self.num_agents), name="scale")(state)
        shift = Mlp((self.hidden_dim, self.num_agents), name="shift")(state)
        return jnp.abs(scale) + _SMALLEST_WEIGHT, shift


class Importance(nn.Module):
    """λ_i(s, a) = Σ_k υ_k(s) φ_{i,k}(s) λ_{i,k}(s, a) > 0, heads k of agents i.

    φ and λ_{i,k} end in a sigmoid, υ in an absolute value. The heads share their hidden layers.
    """

    num_agents: int
    num_heads: int
    hidden_dim: int

    @nn.compact
    def __call__(self, state: jax.Array, actions: jax.Array) -> jax.Array:
        """Map `state [D]` and one-hot `actions [N, A]` to λ `[N]`."""
        both = jnp.concatenate([state, actions.reshape(-1)])
        hidden, heads = (self.hidden_dim, self.hidden_dim), self.num_heads
        per_agent = (self.num_agents, heads)
        head_keys = jnp.abs(Mlp((*hidden, heads), name="keys")(state)) + _SMALLEST_WEIGHT
        by_state = Mlp((*hidden, self.num_agents * heads), name="agents")(state)
        by_action = Mlp((*hidden, self.num_agents * heads), name="actions")(both)
        weights = jax.nn.sigmoid(by_state) * jax.nn.sigmoid(by_action)
        return jnp.sum(head_keys[None] * weights.reshape(per_agent), axis=-1)


def make(config: MixerConfig, sizes: TeamSizes, tfcafs: tuple[TfcafFunction, ...]) -> Mixer:
    """Duplex duelling.

    With q̂_i = w_i(s) q_i + b_i(s) and the advantage Â_i = w_i(s) (q_i − max_a q_i(a)) ≤ 0:
    q_tot = Σ_i q̂_i + Σ_i (λ_i(s, a) − 1) Â_i, no gradient flowing through Â_i.

    "QPLEX: Duplex Dueling Multi-Agent Q-Learning", https://arxiv.org/abs/2008.01062, §3.2, eq. 7–12
    (transformation, duelling mixing, attention over heads), and its stop of the gradient.
    At greedy actions every Â_i is 0, so that `apply` needs no actions.
    """
    num_agents = sizes.num_agents
    transformation = Transformation(num_agents, config.qplex_hidden_dim)
    importance = Importance(num_agents, config.qplex_heads, config.qplex_hidden_dim)

    def init(key: jax.Array) -> Params:
        transformation_key, importance_key = jax.random.split(key)
        state = jnp.zeros((sizes.state_dim,))
        actions = jnp.zeros((num_agents, sizes.known_num_actions("qplex")))
        return {
            "transformation": transformation.init(transformation_key, state)["params"],
            "importance": importance.init(importance_key, state, actions)["params"],
        }

    def transform(params: Params, state: jax.Array) -> tuple[jax.Array, jax.Array]:
        scale, shift = transformation.apply({"params": params["transformation"]}, state)
        return jnp.asarray(scale), jnp.asarray(shift)

    def apply(
        params: Params, agent_qs: jax.Array, state: jax.Array, hyper: MixerHyper
    ) -> jax.Array:
        scale, shift = transform(params, state)
        return jnp.sum(scale * agent_qs + shift, keepdims=True)

    def apply_joint(
        params: Params,
        agent_qs: jax.Array,
        state: jax.Array,
        hyper: MixerHyper,
        joint: JointAction,
    ) -> jax.Array:
        scale, shift = transform(params, state)
        advantage = jax.lax.stop_gradient(scale * (agent_qs - joint.greedy_qs))
        weights = jnp.asarray(
            importance.apply({"params": params["importance"]}, state, joint.actions)
        )
        q_tot = jnp.sum(scale * agent_qs + shift) + jnp.sum((weights - 1.0) * advantage)
        return q_tot[None]

    return Mixer(name="qplex", init=init, apply=apply, igm=True, apply_joint=apply_joint)
