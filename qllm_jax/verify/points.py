"""The points that a function is tried on: agent values and states, in named groups."""

import dataclasses
import enum
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from qllm_jax.errors import UserError
from qllm_jax.tasks.spec import TaskSpec


class Sample(enum.IntEnum):
    """Which of a state's agent values a row holds; the order of `agent_values`."""

    SHARED = 0  # the same for every state
    ZERO = 1
    NORMAL = 2  # standard normal
    WIDE = 3  # ten times that
    UNIFORM = 4  # in [0, 1]
    EQUAL = 5  # all agents equal


SAMPLES = len(Sample)  # agent values per state
LARGE_QS = 1e3  # magnitude of agent values in the group "large"
LARGE_FACTOR = 10.0  # … and the factor on the state
NUM_LARGE = 32
_RAISE_POWERS = (-2.0, 1.0)  # of ten: by how much one agent's value is raised
_NUM_RELABELLED = 32  # states that are relabelled, per permutation
_SEED = 20


@dataclasses.dataclass(frozen=True)
class Points:
    """M inputs in groups: "states", "edge", "zeros", "large", "raised", "relabelled".

    Attributes:
        agent_qs: `[M, N]` float32.
        states: `[M, D]` float32.
        groups: Rows of each group that is present.
        num_states: K; group "states" holds `SAMPLES` rows for each of them, state by state.
        real: The states are a task's, or the caller's, not random numbers.
        edge_names: Names of the rows of group "edge".
        raised_from: Row that each row of group "raised" was made from.
        raised_agent: The agent whose value was raised there.
        originals: Row that each row of group "relabelled" was made from.
        permutations: `[R, N]`, how it was relabelled.
    """

    agent_qs: np.ndarray
    states: np.ndarray
    groups: Mapping[str, slice]
    num_states: int
    real: bool
    edge_names: tuple[str, ...] = ()
    raised_from: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(0, np.int64))
    raised_agent: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(0, np.int64))
    originals: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(0, np.int64))
    permutations: np.ndarray | None = None

    def rows_of(self, sample: Sample, group: str = "states") -> np.ndarray:
        """The rows of a group of `SAMPLES` per state that hold one kind of agent values."""
        rows = self.groups[group]
        return np.arange(rows.start + sample, rows.stop, SAMPLES)

    def failing_input(self, row: int) -> dict[str, Any]:
        """One point as plain lists, for a report."""
        return {
            "agent_qs": [round(float(x), 6) for x in self.agent_qs[row]],
            "state": [round(float(x), 6) for x in self.states[row]],
        }


def agent_values(rng: np.random.Generator, num_states: int, num_agents: int) -> np.ndarray:
    """Agent values to try with each state, `[K, SAMPLES, N]`.

    Entry `[:, s]` holds those of `Sample(s)`.
    """
    shape = (num_states, num_agents)
    shared = np.broadcast_to(rng.normal(size=num_agents), shape)
    equal = np.broadcast_to(rng.normal(size=(num_states, 1)), shape)
    samples = {
        Sample.SHARED: shared,
        Sample.ZERO: np.zeros(shape),
        Sample.NORMAL: rng.normal(size=shape),
        Sample.WIDE: 10 * rng.normal(size=shape),
        Sample.UNIFORM: rng.uniform(size=shape),
        Sample.EQUAL: equal,
    }
    return np.stack([samples[sample] for sample in Sample], 1).astype(np.float32)


def check_states(states: Any, state_dim: int) -> np.ndarray:
    """States as given by a caller, `[K, D]` float32.

    Raises:
        UserError: they are not finite numbers of that shape.
    """
    try:
        array = np.asarray(states, np.float32)
    except (TypeError, ValueError) as error:
        raise UserError(f"states are not an array of numbers: {error}.") from None
    if array.ndim != 2 or array.shape[1] != state_dim or array.shape[0] == 0:
        raise UserError(
            f"states have shape {array.shape}; expected (K, {state_dim}) with K >= 1: one row per "
            "state, in the layout that the function was translated for."
        )
    bad = np.flatnonzero(~np.isfinite(array).all(1))
    if bad.size:
        raise UserError(f"states[{bad[0]}] has values that are not finite; leave such rows out.")
    return array


def random_states(rng: np.random.Generator, num_states: int, state_dim: int) -> np.ndarray:
    """Made-up states: normal, wide, in [0, 1], and 0/1 rows in turn; `[K, D]` float32."""
    shape = (num_states, state_dim)
    kinds = [
        rng.normal(size=shape),
        5 * rng.normal(size=shape),
        rng.uniform(size=shape),
        rng.integers(0, 2, size=shape).astype(np.float64),
    ]
    turn = np.arange(num_states) % len(kinds)
    return np.stack(kinds)[turn, np.arange(num_states)].astype(np.float32)


def make_points(
    num_agents: int,
    state_dim: int,
    states: np.ndarray | None = None,
    spec: TaskSpec | None = None,
    num_states: int = 256,
) -> Points:
    """Assemble the points.

    Args:
        num_agents: N.
        state_dim: D.
        states: `[K, D]`, or None for random ones.
        spec: The task whose edge states and symmetries are added, or None.
        num_states: K where `states` is None.
    """
    rng = np.random.default_rng(_SEED)
    real = states is not None
    states = random_states(rng, num_states, state_dim) if states is None else states
    qs = agent_values(rng, len(states), num_agents)
    parts = [("states", qs.reshape(-1, num_agents), np.repeat(states, SAMPLES, 0))]
    edge, edge_names = _edge_states(spec, state_dim)
    if len(edge):
        values = agent_values(rng, len(edge), num_agents)
        parts.append(("edge", values.reshape(-1, num_agents), np.repeat(edge, SAMPLES, 0)))
    parts.append(("zeros", *_zeros(rng, states, num_agents)))
    parts.append(("large", *_large(rng, states, num_agents, spec if real else None)))
    raised_from, raised_agent, raised_qs = _raised(rng, parts[0][1])
    parts.append(("raised", raised_qs, parts[0][2][raised_from]))
    relabelled = _relabelled(parts[0][1], parts[0][2], spec)
    if relabelled is not None:
        originals, permutations, new_qs, new_states = relabelled
        parts.append(("relabelled", new_qs, new_states))
    else:
        originals, permutations = np.zeros(0, np.int64), None
    ends = np.cumsum([0, *(len(part[1]) for part in parts)])
    return Points(
        agent_qs=np.concatenate([part[1] for part in parts]).astype(np.float32),
        states=np.concatenate([part[2] for part in parts]).astype(np.float32),
        groups={
            part[0]: slice(int(a), int(b))
            for part, a, b in zip(parts, ends[:-1], ends[1:], strict=True)
        },
        num_states=len(states),
        real=real,
        edge_names=tuple(np.repeat(edge_names, SAMPLES)) if len(edge) else (),
        raised_from=raised_from,
        raised_agent=raised_agent,
        originals=originals,
        permutations=permutations,
    )


def _edge_states(spec: TaskSpec | None, state_dim: int) -> tuple[np.ndarray, list[str]]:
    if spec is None or not spec.edge_states:
        return np.zeros((0, state_dim), np.float32), []
    arrays = {
        name: np.asarray(rows, np.float32).reshape(-1, state_dim)
        for name, rows in spec.edge_states.items()
    }
    names = [name for name, rows in arrays.items() for _ in rows]
    return np.concatenate(list(arrays.values())), names


def _zeros(
    rng: np.random.Generator, states: np.ndarray, num_agents: int
) -> tuple[np.ndarray, np.ndarray]:
    """All zero; zero state with some values; zero values with some states."""
    some = states[:4]
    qs = np.concatenate([
        np.zeros((1, num_agents)), rng.normal(size=(3, num_agents)),
        np.zeros((len(some), num_agents)),
    ])  # fmt: skip
    return qs, np.concatenate([np.zeros((4, states.shape[1])), some])


def _large(
    rng: np.random.Generator, states: np.ndarray, num_agents: int, spec: TaskSpec | None
) -> tuple[np.ndarray, np.ndarray]:
    """Agent values up to ±`LARGE_QS`; in the second half states times `LARGE_FACTOR` too.

    Features that the task bounds, and those that only ever hold whole numbers (flags, action ids),
    stay as they are: ten times an action id is not a large one but none.
    """
    chosen = states[rng.integers(0, len(states), size=NUM_LARGE)]
    chosen[: NUM_LARGE // 2] = states[np.arange(NUM_LARGE // 2) % min(4, len(states))]
    fixed = (states == np.round(states)).all(0)
    for field in spec.layout if spec is not None else ():
        if np.isfinite(field.low) and np.isfinite(field.high):
            fixed[field.start : field.stop] = True
    signs = rng.choice([-1.0, 1.0], size=(NUM_LARGE, num_agents))
    sizes = LARGE_QS * rng.uniform(0.5, 1.0, size=(NUM_LARGE, num_agents))
    signs[0], signs[1] = 1.0, -1.0
    sizes[:2] = LARGE_QS
    half = np.arange(NUM_LARGE)[:, None] < NUM_LARGE // 2
    return signs * sizes, np.where(fixed | half, chosen, LARGE_FACTOR * chosen)


def _raised(
    rng: np.random.Generator, agent_qs: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Some points with the value of one agent, each in its turn, raised a little or a lot."""
    rows = np.concatenate([
        np.arange(sample, len(agent_qs), SAMPLES)
        for sample in (Sample.NORMAL, Sample.UNIFORM, Sample.EQUAL)
    ])  # fmt: skip
    agents = np.arange(len(rows)) % agent_qs.shape[1]
    raised = agent_qs[rows].copy()
    raised[np.arange(len(rows)), agents] += 10 ** rng.uniform(*_RAISE_POWERS, size=len(rows))
    return rows, agents, raised


def _relabelled(
    agent_qs: np.ndarray, states: np.ndarray, spec: TaskSpec | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray] | None:
    """Some points as they look after interchangeable agents changed places."""
    if spec is None or spec.relabel_state is None or not spec.interchangeable:
        return None
    rows = np.arange(Sample.NORMAL, len(agent_qs), SAMPLES)[:_NUM_RELABELLED]
    parts = []
    for permutation in permutations_of(spec.interchangeable, agent_qs.shape[1]):
        move = _relabel_fn(spec.relabel_state, permutation)
        new_states = np.asarray(move(states[rows]), np.float32)
        order = np.array(permutation)
        parts.append((rows, np.tile(order, (len(rows), 1)), agent_qs[rows][:, order], new_states))
    columns = [np.concatenate(column) for column in zip(*parts, strict=True)]
    return (columns[0], columns[1], columns[2], columns[3]) if parts else None


def permutations_of(
    groups: Sequence[Sequence[int]], num_agents: int
) -> tuple[tuple[int, ...], ...]:
    """A swap of two agents and a rotation within every group; they generate all relabellings."""
    found = []
    for group in groups:
        if len(group) < 2:
            continue
        for turned in ((group[1], group[0], *group[2:]), (*group[1:], group[0])):
            order = list(range(num_agents))
            for place, agent in zip(group, turned, strict=True):
                order[place] = agent
            found.append(tuple(order))
    return tuple(dict.fromkeys(found))


@functools.lru_cache(maxsize=256)
def _relabel_fn(relabel_state: Callable, permutation: tuple[int, ...]) -> Callable:
    order = np.array(permutation)
    return jax.jit(jax.vmap(lambda state: relabel_state(state, order)))
