"""Functions written by hand, and a toy task: three agents in a plane, some of them dead."""

import types
from collections.abc import Callable

import jax.numpy as jnp
import numpy as np
import pytest

from qllm_jax.tasks.spec import StateField, TaskSpec
from qllm_jax.tfcaf.contract import Translation
from qllm_jax.tfcaf.load import compile_source
from qllm_jax.verify.pool import POOL

NUM_AGENTS, STATE_DIM = 3, 9
MARK = 0.7  # held by state[0] of one state of the toy task, and by nothing else
EDGE_MARK = 0.9  # the same, of one edge state


def _relabel(state, permutation):
    positions, alive = state[:6].reshape(3, 2), state[6:]
    return jnp.concatenate([positions[permutation].ravel(), alive[permutation]])


def _field(name: str, start: int, stop: int, low: float, high: float) -> StateField:
    return StateField(name, start, stop, "", low, high, name, lambda env_state: env_state)


@pytest.fixture(scope="session")
def toy_task() -> TaskSpec:
    """State: three positions in the plane (6 values), three flags that an agent lives."""
    coincident, marked = np.zeros((1, STATE_DIM)), np.full((1, STATE_DIM), 0.5)
    coincident[:, 6:], marked[:, 0], marked[:, 6:] = 1.0, EDGE_MARK, 1.0
    return TaskSpec(
        name="toy/plane",
        env=types.SimpleNamespace(num_agents=NUM_AGENTS, state_dim=STATE_DIM),
        layout=(
            _field("positions", 0, 6, -np.inf, np.inf),
            _field("alive", 6, 9, 0.0, 1.0),
        ),
        agent_names=("a", "b", "c"),
        action_names=("stay",),
        interchangeable=((0, 1, 2),),
        relabel_state=_relabel,
        edge_states={
            "all_dead": np.concatenate([np.ones((1, 6)), np.zeros((1, 3))], 1),
            "coincident": coincident,
            "marked": marked,
        },
    )


@pytest.fixture(scope="session")
def toy_states() -> np.ndarray:
    """`[24, 9]`; row 10 is the marked one."""
    rng = np.random.default_rng(3)
    states = np.concatenate([rng.normal(size=(24, 6)), rng.integers(0, 2, (24, 3))], 1)
    states[10, 0] = MARK
    return states.astype(np.float32)


def source_of(body: str) -> str:
    """Standalone source with `body`, the lines of the function."""
    lines = "\n".join(f"    {line}" for line in body.strip().splitlines())
    return f"import jax\nimport jax.numpy as jnp\n\n\ndef tfcaf(agent_qs, state):\n{lines}\n"


@pytest.fixture(scope="session")
def written() -> Callable[..., Translation]:
    """`written(body, num_agents=3, state_dim=9)`: a translation, as if it had been translated."""

    def make(body: str, num_agents: int = NUM_AGENTS, state_dim: int = STATE_DIM) -> Translation:
        source = body if "def tfcaf" in body else source_of(body)
        function = compile_source(source)
        return Translation(source, "jnp", function, source, num_agents, state_dim, False)

    return make


@pytest.fixture(scope="session", autouse=True)
def warm_pool():
    """One child for the whole session."""
    POOL.warm_up()
    yield POOL
    POOL.close()
