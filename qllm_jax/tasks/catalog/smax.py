"""SMAX: battles against JaxMARL's scripted enemy, every scenario by name.

Rutherford et al., "JaxMARL: Multi-Agent RL Environments and Algorithms in JAX",
https://arxiv.org/abs/2311.10090; the dynamics are those of JaxMARL 0.2, which win rates published
before it do not compare with.
"""

import functools
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from qllm_jax.envs.jaxmarl_adapter import make_team_env, one_reward
from qllm_jax.tasks import rendering
from qllm_jax.tasks.entry import Entry
from qllm_jax.tasks.layout import Part, tile
from qllm_jax.tasks.lazy import jaxmarl
from qllm_jax.tasks.spec import Outcome, TaskSpec

EPISODE_LENGTH = 100
_NEVER = 1_000_000_000
_MAP_SIZE = 32.0
_PUSHED_OUT = 4.0  # how far a crowd may push a unit over the edge before the edge kills it
_NUM_TYPES = 6
_UNIT = 4 + _NUM_TYPES  # numbers per unit in the first part of the state
_LOWEST_COOLDOWN = -0.5 * EPISODE_LENGTH - 1.0  # it falls by 1/16 in each of 8 inner steps
_HIGHEST_COOLDOWN = 1.87 + 0.125  # of a stalker, and the largest random delay
SCENARIOS = (
    "3m",
    "8m",
    "25m",
    "5m_vs_6m",
    "10m_vs_11m",
    "27m_vs_30m",
    "2s3z",
    "3s5z",
    "3s5z_vs_3s6z",
    "3s_vs_5z",
    "6h_vs_8z",
    "smacv2_5_units",
    "smacv2_10_units",
    "smacv2_20_units",
)


def battle(scenario: str) -> TaskSpec:
    """Allies against the scripted enemy, which attacks the closest ally it sees."""
    jaxmarl()
    from jaxmarl.environments.smax import HeuristicEnemySMAX, map_name_to_scenario

    chosen = map_name_to_scenario(scenario)
    raw = HeuristicEnemySMAX(scenario=chosen, max_steps=_NEVER)
    env = make_team_env(
        raw,
        name=f"smax/{scenario}",
        episode_length=EPISODE_LENGTH,
        reward_fn=one_reward("ally_0"),
        state_fn=lambda inner, obs: obs["world_state"],
        avail_fn=raw.get_avail_actions,
    )
    allies, enemies = raw.num_allies, raw.num_enemies
    types = None if chosen.smacv2_unit_type_generation else np.asarray(chosen.unit_types)
    attacks = tuple(f"attack enemy_{j}" for j in range(enemies))
    return TaskSpec(
        name=f"smax/{scenario}",
        env=env,
        layout=tile(_parts(raw)),
        agent_names=tuple(raw.agents),
        action_names=("north", "east", "south", "west", "stop", *attacks),
        interchangeable=_groups(types, allies),
        relabel_state=functools.partial(_relabel, allies, allies + enemies),
        edge_states=_edge_states(raw, types),
        landmarks={"best possible": 2.0},
        outcome=Outcome("win rate", functools.partial(_won, allies), {"best possible": 1.0}),
        render=functools.partial(_render, allies, np.asarray(raw.unit_type_radiuses)),
    )


def _won(allies: int, env_state: Any, reward: jax.Array) -> jax.Array:
    """1 in the step that wins: every enemy dead, an ally alive; the episode ends there."""
    del reward
    alive = env_state.inner.state.unit_alive
    return (~alive[allies:].any() & alive[:allies].any()).astype(jnp.float32)


def _groups(types: np.ndarray | None, allies: int) -> tuple[tuple[int, ...], ...]:
    """Allies of one type; where types are drawn, the state says them and all may be swapped."""
    if types is None:
        return (tuple(range(allies)),)
    kinds = sorted(set(types[:allies].tolist()))
    return tuple(tuple(np.flatnonzero(types[:allies] == kind).tolist()) for kind in kinds)


def _relabel(allies: int, units: int, state: jax.Array, permutation: np.ndarray) -> jax.Array:
    """New ally i is old ally `permutation[i]`, with its type; enemies keep their numbers."""
    order = np.concatenate([permutation, np.arange(allies, units)])
    blocks = np.arange(_UNIT * units).reshape(units, _UNIT)[order].reshape(-1)
    tail = [_UNIT * units + order, (_UNIT + 1) * units + order]
    return state[np.concatenate([blocks, *tail])]


def _parts(raw: Any) -> Iterator[Part]:
    names = raw.all_agents
    for unit, name in enumerate(names):
        yield from _unit_parts(raw, unit, name)
    for unit, name in enumerate(names):
        team = float(unit >= raw.num_allies)
        text = f"team of {name}: 0 ally, 1 enemy; stays after death"
        yield Part(
            f"{name}.team", 1, "0/1", team, team, text,
            lambda inner, u=unit: inner.state.unit_teams[u],  # type: ignore[misc]
        )  # fmt: skip
    for unit, name in enumerate(names):
        text = (
            f"type of {name}: 0 marine, 1 marauder, 2 stalker, 3 zealot, 4 zergling, "
            "5 hydralisk; stays after death"
        )
        yield Part(
            f"{name}.type", 1, "integer, type id", 0.0, _NUM_TYPES - 1.0, text,
            lambda inner, u=unit: inner.state.unit_types[u],  # type: ignore[misc]
        )  # fmt: skip


def _unit_parts(raw: Any, unit: int, name: str) -> Iterator[Part]:
    """Health, position, cooldown and type bits of one unit; all 0 when it is dead."""

    def alive(inner, values):
        return jnp.where(inner.state.unit_alive[unit], values, 0.0)

    yield Part(
        f"{name}.health",
        1,
        "share of full health",
        0.0,
        1.0,
        f"health of {name}; 0 when it is dead",
        lambda inner: alive(
            inner,
            inner.state.unit_health[unit] / raw.unit_type_health[inner.state.unit_types[unit]],
        ),
    )
    yield Part(
        f"{name}.position",
        2,
        "map units",
        -_PUSHED_OUT,
        _MAP_SIZE + _PUSHED_OUT,
        f"(x, y) of {name}, x east, y north, within 0..32 but for crowding; (0, 0) when it is dead",
        lambda inner: alive(inner, inner.state.unit_positions[unit]),
    )
    yield Part(
        f"{name}.cooldown",
        1,
        "seconds",
        _LOWEST_COOLDOWN,
        _HIGHEST_COOLDOWN,
        f"time until {name} can fire; it keeps falling below 0 while it is idle: clip at 0",
        lambda inner: alive(inner, inner.state.unit_weapon_cooldowns[unit]),
    )
    yield Part(
        f"{name}.type_bits",
        _NUM_TYPES,
        "0/1",
        0.0,
        1.0,
        f"one-hot type of {name}: marine, marauder, stalker, zealot, zergling, hydralisk; all 0 "
        "when it is dead",
        lambda inner: alive(inner, jax.nn.one_hot(inner.state.unit_types[unit], _NUM_TYPES)),
    )


def _edge_states(raw: Any, types: np.ndarray | None) -> dict[str, np.ndarray]:
    """Battles at their extremes; mixed types stand for drawn ones."""
    allies, units = raw.num_allies, raw.num_allies + raw.num_enemies
    kinds = np.arange(units) % _NUM_TYPES if types is None else types.astype(int)
    line = np.linspace(8.0, 24.0, units)
    apart = np.stack([np.where(np.arange(units) < allies, 8.0, 24.0), line], axis=1)
    everyone = np.ones(units, bool)
    is_ally = np.arange(units) < allies

    def state(alive, health=1.0, positions=apart, cooldown=0.0):
        blocks = np.zeros((units, _UNIT))
        blocks[:, 0], blocks[:, 1:3], blocks[:, 3] = health, positions, cooldown
        blocks[np.arange(units), 4 + kinds] = 1.0
        blocks[~alive] = 0.0
        numbers = [blocks.reshape(-1), ~is_ally, kinds]
        return np.concatenate(numbers)[None].astype(np.float32)

    return {
        "start": state(everyone),
        "won": state(is_ally, health=0.2),
        "lost": state(~is_ally, health=0.7),
        "all_dead": state(~everyone),
        "last_stand": state(np.arange(units) != 0, health=0.01, cooldown=0.5)
        if allies > 1
        else state(everyone, health=0.01),
        "all_in_one_point": state(everyone, positions=np.full((units, 2), 16.0)),
        "idle_to_the_end": state(everyone, cooldown=-0.5 * EPISODE_LENGTH),
        "in_the_corner": state(everyone, positions=np.full((units, 2), _MAP_SIZE)),
    }


def _render(allies: int, radii: np.ndarray, env_state: Any) -> np.ndarray:
    """The field: allies as numbered discs, enemies as grey squares, health as a bar above."""
    state = jax.tree.map(np.asarray, env_state.inner.state)
    canvas = rendering.Canvas(0, 0, _MAP_SIZE, _MAP_SIZE)
    canvas.grid(4.0)
    full = state.unit_health / np.maximum(_FULL_HEALTH[state.unit_types], 1.0)
    targets = state.prev_attack_actions - 5
    for unit in range(allies):
        if state.unit_alive[unit] and targets[unit] >= 0:
            x, y = state.unit_positions[unit]
            to_x, to_y = state.unit_positions[allies + targets[unit]]
            canvas.line(x, y, to_x, to_y, 0.16, rendering.agent_colour(unit), alpha=0.35)
    for unit, (x, y) in enumerate(state.unit_positions):
        if not state.unit_alive[unit]:
            canvas.line(x - 0.3, y - 0.3, x + 0.3, y + 0.3, 0.14, rendering.SOFT)
            canvas.line(x - 0.3, y + 0.3, x + 0.3, y - 0.3, 0.14, rendering.SOFT)
            continue
        size = 1.6 * radii[state.unit_types[unit]]
        if unit < allies:
            canvas.agent(x, y, size, unit)
        else:
            canvas.box(x - size, y - size, x + size, y + size, rendering.MUTED, 1.0, 0.3 * size)
        top = y + size + 0.25
        canvas.box(x - 0.9, top, x + 0.9, top + 0.28, rendering.SOFT)
        colour = (0, 158, 115) if full[unit] > 0.5 else (213, 94, 0)
        canvas.box(x - 0.9, top, x - 0.9 + 1.8 * full[unit], top + 0.28, colour)
    return canvas.pixels()


_FULL_HEALTH = np.array([45.0, 125.0, 160.0, 150.0, 35.0, 80.0])

TASKS = {
    f"smax/{scenario}": Entry(
        # a keyword-only default is not offered to users as a setting
        functools.partial(battle, scenario),
        text="smax/battle",
    )
    for scenario in SCENARIOS
}
