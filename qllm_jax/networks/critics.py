"""Central critics: what learners without a mixer have in a mixer's place, as `Mixer`s.

They read the global state and, some, the joint action; the agents' own values are not mixed, so
that nobody has credit. Each is made of the team's sizes and of an agent's configuration, whose
`hidden_dim` is the critic's.
"""

import dataclasses

import jax
import jax.numpy as jnp

from qllm_jax.config import AgentConfig
from qllm_jax.networks.agent import make_agent
from qllm_jax.networks.mixer import Mixer, MixerHyper, TeamSizes
from qllm_jax.networks.mlp import Mlp
from qllm_jax.types import JointAction, Params


def no_critic(sizes: TeamSizes, config: AgentConfig) -> Mixer:
    """values_i = V_i: every agent has its own value and nothing beside it.

    "Is Independent Learning All You Need in the StarCraft Multi-Agent Challenge?",
    https://arxiv.org/abs/2011.09533.
    """

    def apply(
        params: Params, agent_qs: jax.Array, state: jax.Array, hyper: MixerHyper
    ) -> jax.Array:
        return agent_qs

    return Mixer(name="ippo", init=lambda key: {}, apply=apply, igm=None)


def state_value(sizes: TeamSizes, config: AgentConfig) -> Mixer:
    """V(s_0 … s_t), one value for the team: a network like the agents' that sees the state.

    "The Surprising Effectiveness of PPO in Cooperative Multi-Agent Games",
    https://arxiv.org/abs/2103.01955, §3 and appendix A: recurrent where the policies are.
    """
    own = dataclasses.replace(config, append_agent_id=False)
    if own.name == "cnn":  # the state is a vector, no image
        own = dataclasses.replace(own, name="mlp")
    network = make_agent(own, 1, 0, (sizes.state_dim,), num_values=1)

    def apply_sequence(
        params: Params, agent_qs: jax.Array, state: jax.Array, reset: jax.Array, hyper: MixerHyper
    ) -> jax.Array:
        return network.apply(params, state[:, :, None], reset)[:, :, 0]

    return Mixer(
        name="mappo",
        init=network.init,
        apply=_nothing,
        igm=None,
        apply_sequence=apply_sequence,
    )


def counterfactual(sizes: TeamSizes, config: AgentConfig) -> Mixer:
    """Q(s, (u_-i, ·)) of every agent i: what each of its actions would be worth beside the others'.

    `apply_joint` gives `[N · A]`: agent by agent, the values of its A actions.

    "Counterfactual Multi-Agent Policy Gradients", https://arxiv.org/abs/1705.08926, §4: the critic
    reads the state, the other agents' actions and the agent's id, and puts out all of its actions.
    """
    num_agents, num_actions = sizes.num_agents, sizes.known_num_actions("coma")
    network = Mlp((config.hidden_dim, config.hidden_dim, num_actions))
    width = sizes.state_dim + num_agents * num_actions + num_agents

    def init(key: jax.Array) -> Params:
        return network.init(key, jnp.zeros((width,)))["params"]

    def apply_joint(
        params: Params,
        agent_qs: jax.Array,
        state: jax.Array,
        hyper: MixerHyper,
        joint: JointAction,
    ) -> jax.Array:
        def of_agent(agent_id: jax.Array) -> jax.Array:
            others = joint.actions * (1.0 - agent_id[:, None])
            read = jnp.concatenate([state, others.reshape(-1), agent_id])
            return jnp.asarray(network.apply({"params": params}, read))

        return jax.vmap(of_agent)(jnp.eye(num_agents)).reshape(-1)

    return Mixer(name="coma", init=init, apply=_nothing, igm=None, apply_joint=apply_joint)


def joint_value(sizes: TeamSizes, config: AgentConfig) -> Mixer:
    """Q(s, u), differentiable in the joint action.

    "Multi-Agent Actor-Critic for Mixed Cooperative-Competitive Environments",
    https://arxiv.org/abs/1706.02275, §4.1; one critic for the team, whose reward is one.
    """
    network = Mlp((config.hidden_dim, config.hidden_dim, 1))
    num_choices = sizes.num_agents * sizes.known_num_actions("maddpg")

    def init(key: jax.Array) -> Params:
        return network.init(key, jnp.zeros((sizes.state_dim + num_choices,)))["params"]

    def apply_joint(
        params: Params,
        agent_qs: jax.Array,
        state: jax.Array,
        hyper: MixerHyper,
        joint: JointAction,
    ) -> jax.Array:
        read = jnp.concatenate([state, joint.actions.reshape(-1)])
        return jnp.asarray(network.apply({"params": params}, read))

    return Mixer(name="maddpg", init=init, apply=_nothing, igm=None, apply_joint=apply_joint)


def _nothing(params: Params, agent_qs: jax.Array, state: jax.Array, hyper: MixerHyper) -> jax.Array:
    return jnp.zeros((1,))
