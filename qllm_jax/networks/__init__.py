"""Networks as data: the agents' shared network, the mixers, and central critics.

from qllm_jax.networks import make_agent, make_mixer
agent = make_agent(config.agent, num_agents, num_actions, obs_shape)  # Agent(init, apply, …)
mixer = make_mixer(config.mixer, num_agents, state_dim, tfcafs)       # Mixer(init, apply, …)
"""

from qllm_jax.networks.agent import Agent, make_agent
from qllm_jax.networks.mixer import JointFunction, Mixer, MixerHyper, TeamSizes
from qllm_jax.networks.mixers import make_mixer, mixer_names

__all__ = [
    "Agent",
    "JointFunction",
    "Mixer",
    "MixerHyper",
    "TeamSizes",
    "make_agent",
    "make_mixer",
    "mixer_names",
]
