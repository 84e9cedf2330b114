"""QTRAN: an unrestricted joint value, and two losses that make the agents' values agree with it."""

import jax
import jax.numpy as jnp

from qllm_jax.config import MixerConfig
from qllm_jax.networks.mixer import Mixer, MixerHyper, TeamSizes
from qllm_jax.networks.mlp import Mlp
from qllm_jax.types import JointAction, Params, TfcafFunction


def make(config: MixerConfig, sizes: TeamSizes, tfcafs: tuple[TfcafFunction, ...]) -> Mixer:
    """Transformed factorisation.

    Q_jt(s, a) regresses on the reward. The agents learn from the extra loss alone, which asks of
    Σ_i q_i + V(s) that it equal Q_jt at the greedy actions ā and not lie below it elsewhere:
    opt = (Σ_i q_i(ā_i) − Q_jt(s, ā) + V(s))², nopt = min(Σ_i q_i(a_i) − Q_jt(s, a) + V(s), 0)²,
    no gradient flowing into Q_jt. Where both are 0, greedy agents choose Q_jt's best joint action.

    "QTRAN: Learning to Factorize with Transformation for Cooperative Multi-Agent Reinforcement
    Learning", https://arxiv.org/abs/1905.05408, eq. 4–8 (QTRAN-base). Q_jt and V read the global
    state instead of the agents' hidden features.
    """
    hidden = (config.qtran_hidden_dim, config.qtran_hidden_dim)
    joint_network, value_network = Mlp((*hidden, 1)), Mlp((*hidden, 1))

    def init(key: jax.Array) -> Params:
        joint_key, value_key = jax.random.split(key)
        num_choices = sizes.num_agents * sizes.known_num_actions("qtran")
        both = jnp.zeros((sizes.state_dim + num_choices,))
        return {
            "joint": joint_network.init(joint_key, both)["params"],
            "value": value_network.init(value_key, both[: sizes.state_dim])["params"],
        }

    def joint_value(params: Params, state: jax.Array, actions: jax.Array) -> jax.Array:
        both = jnp.concatenate([state, actions.reshape(-1)])
        return jnp.asarray(joint_network.apply({"params": params["joint"]}, both))[0]

    def apply(
        params: Params, agent_qs: jax.Array, state: jax.Array, hyper: MixerHyper
    ) -> jax.Array:
        value = jnp.asarray(value_network.apply({"params": params["value"]}, state))
        return jnp.sum(agent_qs) + value

    def apply_joint(
        params: Params,
        agent_qs: jax.Array,
        state: jax.Array,
        hyper: MixerHyper,
        joint: JointAction,
    ) -> jax.Array:
        return joint_value(params, state, joint.actions)[None]

    def extra_loss(
        params: Params,
        agent_qs: jax.Array,
        state: jax.Array,
        hyper: MixerHyper,
        joint: JointAction,
    ) -> jax.Array:
        def gap(qs: jax.Array, actions: jax.Array) -> jax.Array:
            learned = jax.lax.stop_gradient(joint_value(params, state, actions))
            return apply(params, qs, state, hyper)[0] - learned

        opt = gap(joint.greedy_qs, joint.greedy_actions) ** 2
        nopt = jnp.minimum(gap(agent_qs, joint.actions), 0.0) ** 2
        return config.qtran_opt_weight * opt + config.qtran_nopt_weight * nopt

    return Mixer(
        name="qtran",
        init=init,
        apply=apply,
        igm=None,
        apply_joint=apply_joint,
        extra_loss=extra_loss,
    )
