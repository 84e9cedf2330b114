"""Repeated matrix games: the whole game fits in the task text."""

import functools
import itertools

import jax.numpy as jnp
import numpy as np

from qllm_jax.envs.jaxmarl_adapter import make_team_env, one_reward
from qllm_jax.tasks import rendering
from qllm_jax.tasks.entry import Entry
from qllm_jax.tasks.layout import Part, tile
from qllm_jax.tasks.lazy import jaxmarl
from qllm_jax.tasks.spec import TaskSpec

EPISODE_LENGTH = 25
_NUM_ACTIONS = 3


def _matrix_task(name, payoff, env_kwargs, symmetric: bool) -> TaskSpec:
    from qllm_jax.envs.matrix import MatrixGame

    env = make_team_env(
        MatrixGame(payoff, max_steps=EPISODE_LENGTH + 1),
        name=name,
        episode_length=EPISODE_LENGTH,
        reward_fn=one_reward("agent_0"),
        state_fn=lambda inner, obs: obs["agent_0"],
        fixed_length=True,
    )
    payoffs = np.asarray(payoff)
    return TaskSpec(
        name=name,
        env=env,
        layout=tile(_last_action(agent) for agent in range(2)),
        agent_names=("agent_0", "agent_1"),
        action_names=("0", "1", "2"),
        interchangeable=((0, 1),) if symmetric else (),
        relabel_state=lambda state, permutation: state[jnp.asarray(permutation)],
        edge_states={
            "start": np.full((1, 2), -1.0, np.float32),
            "every_joint_action": np.indices((3, 3)).reshape(2, -1).T.astype(np.float32),
        },
        landmarks={  # exact: uniform play, and the best joint action in every step
            "random": EPISODE_LENGTH * float(payoffs.mean()),
            "best possible": EPISODE_LENGTH * float(payoffs.max()),
        },
        env_kwargs=env_kwargs,
        render=functools.partial(_render, payoffs),
    )


def _last_action(agent: int) -> Part:
    return Part(
        f"agent_{agent}.last_action",
        1,
        "integer, action id",
        -1.0,
        _NUM_ACTIONS - 1.0,
        "what the agent played in the step before; -1 at the start of an episode",
        lambda inner: inner.last_actions[agent],
    )


def climbing() -> TaskSpec:
    """The climbing game: the best joint action borders on the worst."""
    jaxmarl()
    from qllm_jax.envs.matrix import CLIMBING

    return _matrix_task("matrix/climbing", CLIMBING, {}, symmetric=False)


def penalty(k: float = 100, *, name: str = "matrix/penalty") -> TaskSpec:
    """The penalty game with a fine of `k` for missing each other."""
    jaxmarl()
    from qllm_jax.envs.matrix import penalty_payoff

    return _matrix_task(name, penalty_payoff(float(k)), {"k": k}, symmetric=True)


def _render(payoffs: np.ndarray, env_state) -> np.ndarray:
    """The payoff matrix; the joint action just played is framed in both agents' colours."""
    canvas = rendering.Canvas(-0.75, -3.25, 3.25, 0.75, width=280)
    row, column = (int(action) for action in np.asarray(env_state.inner.last_actions))
    span = max(np.abs(payoffs).max(), 1.0)
    for i in range(3):
        for j in range(3):
            value = payoffs[i, j]
            tone = (0, 158, 115) if value > 0 else (213, 94, 0)
            shade = rendering.lighter(tone, 1 - 0.75 * (abs(value) / span) ** 0.5)
            shade = shade if value else rendering.GRID
            canvas.box(j + 0.04, -i - 0.96, j + 0.96, -i - 0.04, shade, round_by=0.08)
            canvas.text(j + 0.5, -i - 0.5, 0.22, f"{value:g}", rendering.INK)
    for action in range(3):
        for x, y, chosen, agent in (
            (-0.35, -action - 0.5, row == action, 0),
            (action + 0.5, 0.35, column == action, 1),
        ):
            colour = rendering.agent_colour(agent)
            canvas.disc(x, y, 0.2, colour if chosen else rendering.SOFT)
            canvas.text(x, y, 0.18, str(action), (255, 255, 255))
    if row >= 0:
        for agent, inset in ((0, 0.02), (1, 0.08)):
            _frame(canvas, column, -row, inset, rendering.agent_colour(agent))
    return canvas.pixels()


def _frame(canvas, x: float, y: float, inset: float, colour) -> None:
    left, right, low, high = x + inset, x + 1 - inset, y - 1 + inset, y - inset
    corners = ((left, low), (right, low), (right, high), (left, high), (left, low))
    for (x0, y0), (x1, y1) in itertools.pairwise(corners):
        canvas.line(x0, y0, x1, y1, 0.045, colour)


TASKS = {
    "matrix/climbing": Entry(climbing),
    "matrix/penalty": Entry(penalty),
    **{
        f"matrix/penalty-{k}": Entry(
            functools.partial(penalty, k, name=f"matrix/penalty-{k}"), text="matrix/penalty"
        )
        for k in (0, 25, 50, 75, 100)
    },
}
