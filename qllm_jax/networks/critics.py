"""Central critics: what learners without a mixer have in a mixer's place, as `Mixer`s.

They read the global state and, some, the joint action; the agents' own values are not mixed, so
that nobody has credit.
"""

import jax
import jax.numpy as jnp

from qllm_jax.networks.mixer import Mixer, MixerHyper, TeamSizes
from qllm_jax.networks.mlp import Mlp
from qllm_jax.types import JointAction, Params


def no_critic(sizes: TeamSizes, hidden_dim: int) -> Mixer:
    """values_i = V_i: every agent has its own value and nothing beside it.

    "Is Independent Learning All You Need in the StarCraft Multi-Agent Challenge?",
    https://arxiv.org/abs/2011.09533.
    """

    def apply(
        params: Params, agent_qs: jax.Array, state: jax.Array, hyper: MixerHyper
    ) -> jax.Array:
        return agent_qs

    return Mixer(name="ippo", init=lambda key: {}, apply=apply, monotone=None)


def state_value(sizes: TeamSizes, hidden_dim: int) -> Mixer:
    """V(s), one value for the team.

    "The Surprising Effectiveness of PPO in Cooperative Multi-Agent Games",
    https://arxiv.org/abs/2103.01955, §3. The state is the environment's own and tells all, so that
    the critic needs no memory.
    """
    network = Mlp((hidden_dim, hidden_dim, 1))

    def init(key: jax.Array) -> Params:
        return network.init(key, jnp.zeros((sizes.state_dim,)))["params"]

    def apply(
        params: Params, agent_qs: jax.Array, state: jax.Array, hyper: MixerHyper
    ) -> jax.Array:
        return jnp.asarray(network.apply({"params": params}, state))

    return Mixer(name="mappo", init=init, apply=apply, monotone=None)


def counterfactual(sizes: TeamSizes, hidden_dim: int) -> Mixer:
    """Q(s, (u_-i, ·)) of every agent i: what each of its actions would be worth beside the others'.

    `apply_joint` gives `[N · A]`: agent by agent, the values of its A actions.

    "Counterfactual Multi-Agent Policy Gradients", https://arxiv.org/abs/1705.08926, §4: the critic
    reads the state, the other agents' actions and the agent's id, and puts out all of its actions.
    """
    num_agents, num_actions = sizes.num_agents, sizes.known_num_actions("coma")
    network = Mlp((hidden_dim, hidden_dim, num_actions))
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

    return Mixer(name="coma", init=init, apply=_nothing, monotone=None, apply_joint=apply_joint)


def joint_value(sizes: TeamSizes, hidden_dim: int) -> Mixer:
    """Q(s, u), differentiable in the joint action.

    "Multi-Agent Actor-Critic for Mixed Cooperative-Competitive Environments",
    https://arxiv.org/abs/1706.02275, §4.1; one critic for the team, whose reward is one.
    """
    network = Mlp((hidden_dim, hidden_dim, 1))
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

    return Mixer(name="maddpg", init=init, apply=_nothing, monotone=None, apply_joint=apply_joint)


def _nothing(params: Params, agent_qs: jax.Array, state: jax.Array, hyper: MixerHyper) -> jax.Array:
    return jnp.zeros((1,))
