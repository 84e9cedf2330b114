"""`TaskSpec`: what is to be solved, and an executable description of the state it is solved in."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from qllm_jax.envs.team import TeamEnv
from qllm_jax.types import EnvState


@dataclasses.dataclass(frozen=True)
class StateField:
    """One contiguous slice of the global state, with a function that recomputes it.

    Attributes:
        name: Such as `agent_0.velocity`; unique within a layout.
        start: First index, inclusive.
        stop: Last index, exclusive.
        unit: Such as "world units", "0/1", "action id".
        low: Smallest value that occurs; -inf where unbounded.
        high: Largest value that occurs.
        description: One clause for the coder's table.
        from_env_state: `env_state -> [stop - start]`, from the environment's own state rather than
            from the observation, so that a test can compare the two.
    """

    name: str
    start: int
    stop: int
    unit: str
    low: float
    high: float
    description: str
    from_env_state: Callable[[EnvState], jax.Array]


@dataclasses.dataclass(frozen=True)
class Outcome:
    """A second measure of an episode that people compare by, such as the win rate.

    Attributes:
        name: As tables and axes call it.
        step_fn: `(env_state after a step, that step's team reward []) -> []`; an episode's outcome
            is the sum over its steps. Pure, may be vmapped.
        landmarks: Known values by name, such as `{"random": 0.0}`.
    """

    name: str
    step_fn: Callable[[EnvState, jax.Array], jax.Array]
    landmarks: Mapping[str, float] = dataclasses.field(default_factory=dict)

    @property
    def metric(self) -> str:
        """Its name in `metrics.npz`, such as "win_rate"."""
        return self.name.replace(" ", "_")


@dataclasses.dataclass(frozen=True)
class TaskSpec:
    """A task: its environment, its state layout, and what is known about it.

    Attributes:
        name: Task id such as "mpe/simple_spread"; also the prompt text's and config's path.
        env: The stacked environment.
        layout: Fields that tile `0..D` exactly, in order.
        agent_names: Names of the N controlled agents, in stacking order.
        action_names: Names of the A actions.
        interchangeable: Groups of agent indices that may be relabelled, such as `((0, 1, 2),)`.
        relabel_state: `(state [D], permutation [N]) -> state [D]` as seen after relabelling
            agents (new agent i is old agent `permutation[i]`); None where unknown.
        edge_states: Rare states worth testing, name to `[K, D]` float32.
        score: The episode's sum of team rewards, as axes and tables call it.
        landmarks: Known scores by name, such as `{"random": -75.0}`, measured, higher is better.
        outcome: A second measure, such as the win rate; None where the score says it all.
        env_kwargs: What the environment was built with.
        text: What the coder is told before the facts; None reads `prompts/tasks/<name>.md`.
        drawing: `() -> str`, what follows the text and is read off the environment, such as a map
            in characters; None where there is none.
        render: `env_state -> [H, W, 3]` uint8 image on the host; None where there is none.
    """

    name: str
    env: TeamEnv
    layout: tuple[StateField, ...]
    agent_names: tuple[str, ...]
    action_names: tuple[str, ...]
    interchangeable: tuple[tuple[int, ...], ...] = ()
    relabel_state: Callable[[jax.Array, np.ndarray], jax.Array] | None = None
    edge_states: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)
    score: str = "return"
    landmarks: Mapping[str, float] = dataclasses.field(default_factory=dict)
    outcome: Outcome | None = None
    env_kwargs: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    text: str | None = None
    drawing: Callable[[], str] | None = None
    render: Callable[[EnvState], np.ndarray] | None = None
