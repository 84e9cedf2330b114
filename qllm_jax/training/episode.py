"""One greedy episode, recorded for a person to look at."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from qllm_jax.config import Config
from qllm_jax.learning import NetworkParams
from qllm_jax.networks import Mixer, MixerHyper
from qllm_jax.tasks.spec import TaskSpec
from qllm_jax.training.chunk import make_program
from qllm_jax.training.evaluation import credits, play_greedy
from qllm_jax.training.runs import mixer_scale


@dataclasses.dataclass(frozen=True)
class EpisodeTrace:
    """L steps of one greedy episode, on the host.

    Attributes:
        env_states: Environment states, every leaf `[L + 1, ...]`; the last is the episode's end.
        states: `[L + 1, D]` global states.
        actions: `[L, N]` int.
        q_values: `[L, N, A]`.
        agent_qs: `[L, N]` values of the actions taken.
        q_tot: `[L]` mixed value; the values' sum where the mixer has several.
        credits: `[L, N]`, ∂q_tot/∂q_i.
        rewards: `[L]` team reward.
    """

    env_states: Any
    states: np.ndarray
    actions: np.ndarray
    q_values: np.ndarray
    agent_qs: np.ndarray
    q_tot: np.ndarray
    credits: np.ndarray
    rewards: np.ndarray

    @property
    def episode_return(self) -> float:
        """Undiscounted team return."""
        return float(np.sum(self.rewards))


def record_episode(
    spec: TaskSpec,
    mixer: Mixer,
    config: Config,
    params: NetworkParams,
    key: jax.Array,
    hyper: MixerHyper | None = None,
) -> EpisodeTrace:
    """Play one episode greedily and keep what a picture of it needs.

    Args:
        spec: The task.
        mixer: The mixer that was trained.
        config: The config it was trained with.
        params: Of one run, as from `TrainingOutput.run_params`.
        key: Of the episode; consumed.
        hyper: The run's mixer settings; None is `config.mixer.scale` and the first candidate.
    """
    program = make_program(spec.env, mixer, config)
    if hyper is None:
        scale = mixer_scale(config.mixer.scale, spec.env.num_agents)
        hyper = MixerHyper(scale=jnp.float32(scale), candidate=jnp.int32(0))

    @jax.jit
    def play(params: NetworkParams, hyper: MixerHyper, key: jax.Array) -> Any:
        slots, env_state, timestep = play_greedy(program, params.agent, key, 1)
        apply = jnp.vectorize(
            lambda qs, state: jnp.sum(mixer.apply(params.mixer, qs, state, hyper)),
            signature="(n),(d)->()",
        )
        credit = credits(program, params.mixer, slots.agent_qs, slots.state, hyper)
        q_tot = apply(slots.agent_qs, slots.state)
        return jax.tree.map(lambda leaf: leaf[:, 0], (slots, q_tot, credit)), jax.tree.map(
            lambda leaf: leaf[0], (env_state, timestep.state)
        )

    played = play(params, hyper, key)
    (slots, q_tot, credit), (end_state, end) = jax.tree.map(_to_host, played)
    length = int(np.sum(slots.playing))
    # Slots past the episode's end are not part of it: its last state is the next slot's.
    if length < len(slots.playing):
        end_state = jax.tree.map(lambda leaf: leaf[length], slots.env_state)
        end = slots.state[length]
    return EpisodeTrace(
        env_states=jax.tree.map(
            lambda leaf, last: np.concatenate([leaf[:length], last[None]]),
            slots.env_state,
            end_state,
        ),
        states=np.concatenate([slots.state[:length], end[None]]),
        actions=slots.actions[:length],
        q_values=slots.q_values[:length],
        agent_qs=slots.agent_qs[:length],
        q_tot=q_tot[:length],
        credits=credit[:length],
        rewards=slots.reward[:length],
    )


def _to_host(leaf: jax.Array) -> np.ndarray:
    """A NumPy copy; keys become their data, which NumPy can hold."""
    if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        leaf = jax.random.key_data(leaf)
    return np.array(leaf)
