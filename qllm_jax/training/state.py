"""What a compiled training is made of, and what a run carries from one iteration to the next."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import struct

from qllm_jax.config import AgentConfig, LearnerConfig
from qllm_jax.envs.team import TeamEnv
from qllm_jax.learning import (
    NetworkParams,
    RunningMoments,
    epsilon_greedy_actions,
    init_moments,
    take_actions,
)
from qllm_jax.networks import Agent, Mixer, TeamSizes
from qllm_jax.schedule import Schedule
from qllm_jax.tasks.spec import Outcome
from qllm_jax.training.replay import Replay, init_replay


@dataclasses.dataclass(frozen=True)
class Algorithm:
    """How a run learns.

    Attributes:
        name: Registry name such as "dqn".
        iterate: `(program, hyper, key, iteration [], state) -> (state, UpdateMetrics)`: collect
            one window per environment and do the gradient steps that are due.
        uses_replay: Windows are kept; otherwise `RunState.replay` is None.
        uses_target: There are target networks; otherwise `LearnerState.target_params` is None.
        num_extra_outputs: V, what an agent's network puts out after its A values or logits.
        act: `(noise [..., A + 1], outputs [..., A + V], avail_actions [..., A], epsilon []) ->
            actions [...]`, how experience is collected. Greedy play takes the largest of the A.
        make_critic: `(sizes, agent config) -> Mixer`, what a learner without a mixer has instead;
            None takes the config's mixer. Actor and critic are then clipped apart.
        agent_values: `(outputs [..., A + V], actions [...]) -> [...]`, what the mixer mixes.
    """

    name: str
    iterate: Callable[..., tuple["RunState", Any]]
    uses_replay: bool
    uses_target: bool
    num_extra_outputs: int = 0
    act: Callable[..., jax.Array] = epsilon_greedy_actions
    agent_values: Callable[[jax.Array, jax.Array], jax.Array] = take_actions
    make_critic: Callable[[TeamSizes, AgentConfig], Mixer] | None = None


@dataclasses.dataclass(frozen=True)
class Program:
    """Everything static that a compiled training program is made of.

    Attributes:
        env: The task's environment.
        agent: The agents' network.
        mixer: How their values are combined.
        optimizer: From gradients to steps, without the learning rate.
        algorithm: What an iteration does.
        learner: Static settings; the traced ones are read from `Hyper`.
        schedule: Whole numbers that follow from the budget.
        num_eval_episodes: Episodes per evaluation.
        outcome: The task's second measure, reported beside the return; None where it has none.
    """

    env: TeamEnv
    agent: Agent
    mixer: Mixer
    optimizer: optax.GradientTransformation
    algorithm: Algorithm
    learner: LearnerConfig
    schedule: Schedule
    num_eval_episodes: int
    outcome: Outcome | None = None


@struct.dataclass
class LearnerState:
    """What gradient steps change."""

    params: NetworkParams
    target_params: NetworkParams | None  # None where the learner has no target networks
    opt_state: optax.OptState
    alive: jax.Array  # [] bool, False once a loss or a parameter was not finite: frozen from then


@struct.dataclass
class RunState:
    """One run between two iterations.

    Every window starts at a reset, so no environment lives on; keys follow from the seed id and
    the iteration.
    """

    learner: LearnerState
    replay: Replay | None  # None where the learner keeps no windows
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
            target_params=jax.tree.map(jnp.copy, params) if program.algorithm.uses_target else None,
            opt_state=program.optimizer.init(params),
            alive=jnp.ones((), bool),
        ),
        replay=init_replay(
            program.env,
            learner.replay_capacity,
            program.schedule.window_length,
            learner.replay_dtype,
        )
        if program.algorithm.uses_replay
        else None,
        reward_moments=init_moments(),
    )
