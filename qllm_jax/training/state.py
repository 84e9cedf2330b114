"""What a run carries from one iteration to the next."""

import dataclasses

import jax
import jax.numpy as jnp
import optax
from flax import struct

from qllm_jax.config import LearnerConfig, Schedule
from qllm_jax.envs.team import TeamEnv
from qllm_jax.learning import NetworkParams, RunningMoments, init_moments
from qllm_jax.networks import Agent, Mixer
from qllm_jax.training.replay import Replay, init_replay


@dataclasses.dataclass(frozen=True)
class Program:
    """Everything static that a compiled training program is made of.

    Attributes:
        env: The task's environment.
        agent: The agents' network.
        mixer: How their values are combined.
        optimizer: From gradients to steps, without the learning rate.
        learner: Static settings; the traced ones are read from `Hyper`.
        schedule: Whole numbers that follow from the budget.
        num_eval_episodes: Episodes per evaluation.
    """

    env: TeamEnv
    agent: Agent
    mixer: Mixer
    optimizer: optax.GradientTransformation
    learner: LearnerConfig
    schedule: Schedule
    num_eval_episodes: int


@struct.dataclass
class LearnerState:
    """What gradient steps change."""

    params: NetworkParams
    target_params: NetworkParams
    opt_state: optax.OptState
    alive: jax.Array  # [] bool, False once a loss or a parameter was not finite: frozen from then


@struct.dataclass
class RunState:
    """One run between two iterations.

    Every window starts at a reset, so no environment lives on; keys follow from the seed id and
    the iteration.
    """

    learner: LearnerState
    replay: Replay
    reward_moments: RunningMoments


def init_networks(program: Program, key: jax.Array) -> NetworkParams:
    """Fresh parameters; `key` is consumed. Not to be vmapped (see `Agent.init`)."""
    agent_key, mixer_key = jax.random.split(key)
    return NetworkParams(agent=program.agent.init(agent_key), mixer=program.mixer.init(mixer_key))


def init_state(program: Program, params: NetworkParams) -> RunState:
    """A run that has seen nothing."""
    learner = program.learner
    return RunState(
        learner=LearnerState(
            params=params,
            target_params=jax.tree.map(jnp.copy, params),
            opt_state=program.optimizer.init(params),
            alive=jnp.ones((), bool),
        ),
        replay=init_replay(
            program.env,
            learner.replay_capacity,
            program.schedule.window_length,
            learner.replay_dtype,
        ),
        reward_moments=init_moments(),
    )
