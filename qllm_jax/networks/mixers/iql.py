"""Independent Q-learning: nothing is mixed."""

import jax

from qllm_jax.config import MixerConfig
from qllm_jax.networks.mixer import Mixer, MixerHyper, TeamSizes
from qllm_jax.types import Params, TfcafFunction


def make(config: MixerConfig, sizes: TeamSizes, tfcafs: tuple[TfcafFunction, ...]) -> Mixer:
    """values_i = q_i: every agent regresses on the team reward by itself.

    "Multi-Agent Reinforcement Learning: Independent vs. Cooperative Agents", Tan 1993,
    https://doi.org/10.1016/B978-1-55860-307-3.50049-6.
    """

    def apply(
        params: Params, agent_qs: jax.Array, state: jax.Array, hyper: MixerHyper
    ) -> jax.Array:
        return agent_qs

    return Mixer(name="iql", init=lambda key: {}, apply=apply, igm=True)
