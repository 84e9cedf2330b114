"""The switch riddle: one light bulb as the only means of communication.

Foerster et al., "Learning to Communicate to Solve Riddles with Deep Distributed Recurrent
Q-Networks", https://arxiv.org/abs/1602.02672; rules as in JaxMARL.
"""

from collections.abc import Iterator

import jax.numpy as jnp
import numpy as np

from qllm_jax.envs.jaxmarl_adapter import make_team_env, one_reward
from qllm_jax.tasks.entry import Entry
from qllm_jax.tasks.layout import Part, tile
from qllm_jax.tasks.lazy import jaxmarl
from qllm_jax.tasks.spec import Outcome, TaskSpec

_NEVER = 1_000_000_000


def switch_riddle(num_agents: int = 3) -> TaskSpec:
    """Prisoners enter a room one at a time; somebody must say when all have been there."""
    raw = jaxmarl().make("switch_riddle", num_agents=num_agents)
    length = raw.max_steps  # 4 N - 6
    raw.max_steps = _NEVER  # its done is then the telling alone, and the adapter counts
    env = make_team_env(
        raw, name="switch_riddle", episode_length=length, reward_fn=one_reward(raw.agents[0])
    )
    return TaskSpec(
        name="switch_riddle",
        env=env,
        layout=tile(part for agent in range(num_agents) for part in _parts(agent)),
        agent_names=tuple(raw.agents),
        action_names=("nothing", "switch the light", "tell"),
        interchangeable=(tuple(range(num_agents)),),
        relabel_state=lambda state, permutation: state.reshape(num_agents, 2)[
            jnp.asarray(permutation)
        ].reshape(-1),
        edge_states=_edge_states(num_agents),
        landmarks={"always right": 1.0},
        outcome=Outcome(
            "success rate",
            lambda env_state, reward: (reward > 0).astype(jnp.float32),
            {"always right": 1.0},
        ),
        env_kwargs={"num_agents": num_agents},
    )


def _parts(agent: int) -> Iterator[Part]:
    yield Part(
        f"agent_{agent}.in_room", 1, "0/1", 0.0, 1.0, f"agent_{agent} is in the room now",
        lambda inner: inner.agent_in_room == agent,
    )  # fmt: skip
    yield Part(
        f"agent_{agent}.sees_light", 1, "0/1", 0.0, 1.0,
        f"agent_{agent} is in the room and the light is on",
        lambda inner: (inner.agent_in_room == agent) & inner.bulb_state,
    )  # fmt: skip


def _edge_states(num_agents: int) -> dict[str, np.ndarray]:
    dark = np.zeros((num_agents, num_agents, 2), np.float32)
    dark[np.arange(num_agents), np.arange(num_agents), 0] = 1.0
    lit = dark * 0.0
    lit[np.arange(num_agents), np.arange(num_agents)] = 1.0
    return {
        "anyone_in_the_dark": dark.reshape(num_agents, -1),
        "anyone_in_the_light": lit.reshape(num_agents, -1),
    }


TASKS = {"switch_riddle": Entry(switch_riddle)}
