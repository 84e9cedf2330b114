"""Level-based foraging with JaxMARL's interface, equal to lbforaging's v3 step for step.

Albrecht and Ramamoorthy, "A Game-Theoretic Model and Best-Response Learning Method for Ad Hoc
Coordination in Multiagent Systems", https://arxiv.org/abs/1506.01170; benchmark and rules:
Papoudakis et al., https://arxiv.org/abs/2006.07869. Resets have the same distribution, not the
same random numbers.
"""

import jax
import jax.numpy as jnp
from flax import struct
from jaxmarl.environments import spaces
from jaxmarl.environments.multi_agent_env import MultiAgentEnv

NONE, NORTH, SOUTH, WEST, EAST, LOAD = range(6)
_MOVES = ((0, 0), (-1, 0), (1, 0), (0, -1), (0, 1), (0, 0))  # (row, col) by action
_ABSENT = (-1, -1, 0)  # row, col, level of what is not there


@struct.dataclass
class ForagingState:
    """Positions are (row, col) from the upper left corner; F foods in row-major order."""

    agent_pos: jax.Array  # [N, 2] int32
    agent_level: jax.Array  # [N] int32
    food_pos: jax.Array  # [F, 2] int32
    food_level: jax.Array  # [F] int32, 0 when eaten
    food_total: jax.Array  # [] int32, sum of food levels at the reset
    last_actions: jax.Array  # [N] int32 as chosen, -1 at the reset
    step: jax.Array  # [] int32


class LevelBasedForaging(MultiAgentEnv):
    """Agents of levels 1..2 pick up food together when their levels add up to the food's.

    An action that is not legal (into food, out of the field, load without food beside) is none;
    agents that want into one cell all stay. Rewards by agent add up to 1 when all is eaten.
    """

    def __init__(
        self,
        size: int = 8,
        num_agents: int = 2,
        num_foods: int = 2,
        sight: int | None = None,
        force_coop: bool = False,
        max_steps: int = 50,
    ):
        """Args: sight: cells seen in each direction, all of them by default. force_coop: every
        food takes the levels of the three weakest agents together. max_steps: time limit."""
        super().__init__(num_agents)
        self.size, self.num_foods, self.max_steps = size, num_foods, max_steps
        self.sight = size if sight is None else sight
        self.force_coop = force_coop
        obs_size = 3 * (num_foods + num_agents)
        self.action_spaces = {agent: spaces.Discrete(6) for agent in self.agents}
        self.observation_spaces = {
            agent: spaces.Box(-1.0, float(max(size - 1, 6)), (obs_size,)) for agent in self.agents
        }

    def reset(self, key):
        """Agents on free cells, then foods inside the border with nothing close to them."""
        key_agents, key_levels, key_foods, key_food_levels = jax.random.split(key, 4)
        agent_pos = _distinct_cells(key_agents, self.num_agents, self.size)
        agent_level = jax.random.randint(key_levels, (self.num_agents,), 1, 3)
        food_pos = self._food_cells(key_foods, agent_pos)
        top = jnp.sort(agent_level)[:3].sum()
        low = top if self.force_coop else 1
        food_level = jax.random.randint(key_food_levels, (self.num_foods,), low, top + 1)
        state = ForagingState(
            agent_pos=agent_pos,
            agent_level=agent_level,
            food_pos=food_pos,
            food_level=food_level,
            food_total=food_level.sum(),
            last_actions=jnp.full((self.num_agents,), -1, jnp.int32),
            step=jnp.zeros((), jnp.int32),
        )
        return self.get_obs(state), state

    def _food_cells(self, key, agent_pos):
        """One cell after another, uniformly among those allowed; `[F, 2]` in row-major order."""
        rows, cols = jnp.mgrid[0 : self.size, 0 : self.size]
        inside = (rows > 0) & (rows < self.size - 1) & (cols > 0) & (cols < self.size - 1)
        free = inside.at[agent_pos[:, 0], agent_pos[:, 1]].set(False)
        cells = []
        for key_food in jax.random.split(key, self.num_foods):
            cell = jax.random.categorical(key_food, jnp.where(free, 0.0, -jnp.inf).reshape(-1))
            away = jnp.stack([jnp.abs(rows - cell // self.size), jnp.abs(cols - cell % self.size)])
            touching = away.max(axis=0) <= 1
            two_straight = (away.max(axis=0) <= 2) & (away.min(axis=0) == 0)
            free = free & ~touching & ~two_straight
            cells.append(cell)
        ordered = jnp.sort(jnp.stack(cells))
        return jnp.stack([ordered // self.size, ordered % self.size], axis=-1).astype(jnp.int32)

    def step_env(self, key, state, actions):
        """Move whoever gets its cell alone, then load."""
        del key
        chosen = jnp.stack([actions[agent] for agent in self.agents]).astype(jnp.int32)
        legal = jnp.take_along_axis(self._legal(state), chosen[:, None], axis=1)[:, 0]
        done_actions = jnp.where(legal, chosen, NONE)
        target = state.agent_pos + jnp.asarray(_MOVES)[done_actions]  # [N, 2]
        rivals = (target[:, None] == target[None]).all(axis=-1).sum(axis=1)
        agent_pos = jnp.where((rivals == 1)[:, None], target, state.agent_pos)

        loading = (done_actions == LOAD)[:, None] & self._beside_food(state)  # [N, F]
        effort = jnp.where(loading, state.agent_level[:, None], 0)
        strength = effort.sum(axis=0)  # [F]
        eaten = (strength >= state.food_level) & (strength > 0)
        share = effort * state.food_level / (jnp.maximum(strength, 1) * state.food_total)
        reward = jnp.where(eaten, share, 0.0).sum(axis=1)  # [N]

        state = state.replace(
            agent_pos=agent_pos,
            food_level=jnp.where(eaten, 0, state.food_level),
            last_actions=chosen,
            step=state.step + 1,
        )
        done = self.all_eaten(state) | (state.step >= self.max_steps)
        rewards = {agent: reward[i] for i, agent in enumerate(self.agents)}
        dones = dict.fromkeys((*self.agents, "__all__"), done)
        return self.get_obs(state), state, rewards, dones, {}

    def all_eaten(self, state):
        """Whether the episode's work is done, `[]` bool."""
        return (state.food_level == 0).all()

    def _beside_food(self, state):
        """Which agent stands beside which uneaten food, `[N, F]` bool."""
        away = jnp.abs(state.agent_pos[:, None] - state.food_pos[None]).sum(axis=-1)
        return (away == 1) & (state.food_level > 0)

    def _legal(self, state):
        """`[N, 6]` bool; other agents block nothing."""
        target = state.agent_pos[:, None] + jnp.asarray(_MOVES)[None]  # [N, 6, 2]
        inside = ((target >= 0) & (target < self.size)).all(axis=-1)
        on_food = (target[:, :, None] == state.food_pos[None, None]).all(axis=-1)
        free = ~(on_food & (state.food_level > 0)).any(axis=-1)
        legal = (inside & free).at[:, NONE].set(True)
        return legal.at[:, LOAD].set(self._beside_food(state).any(axis=1))

    def get_avail_actions(self, state):
        """Legal actions by agent, `[6]` bool."""
        legal = self._legal(state)
        return {agent: legal[i] for i, agent in enumerate(self.agents)}

    def get_obs(self, state):
        """(row, col, level) of seen foods, self, seen others; what is not seen is (-1, -1, 0).

        Rows and columns count from the corner of the window that the agent sees. At the upper and
        left edge that window is cut, and other agents (not foods) are seen beyond it.
        """
        obs = jax.vmap(self._obs_of, in_axes=(0, None))(jnp.arange(self.num_agents), state)
        return {agent: obs[i] for i, agent in enumerate(self.agents)}

    def _obs_of(self, agent, state):
        here = state.agent_pos[agent]
        corner = here - jnp.minimum(self.sight, here)
        near = (jnp.abs(state.food_pos - here) <= self.sight).all(axis=-1)
        foods = _packed(state.food_pos - corner, state.food_level, near & (state.food_level > 0))
        relative = state.agent_pos - corner
        seen = ((relative >= 0) & (relative <= 2 * self.sight)).all(axis=-1)
        self_first = jnp.argsort(jnp.arange(self.num_agents) != agent, stable=True)
        agents = _packed(relative[self_first], state.agent_level[self_first], seen[self_first])
        return jnp.concatenate([foods, agents]).astype(jnp.float32)

    def get_world_state(self, state):
        """(row, col, level) of agents, of foods (eaten: -1, -1, 0), last actions; `[D]`."""
        agents = jnp.concatenate([state.agent_pos, state.agent_level[:, None]], axis=1)
        foods = jnp.concatenate([state.food_pos, state.food_level[:, None]], axis=1)
        foods = jnp.where((state.food_level > 0)[:, None], foods, jnp.asarray(_ABSENT))
        parts = [agents.reshape(-1), foods.reshape(-1), state.last_actions]
        return jnp.concatenate(parts).astype(jnp.float32)


def _distinct_cells(key, count: int, size: int):
    """`[count, 2]` different cells, uniformly."""
    cells = jax.random.permutation(key, size * size)[:count]
    return jnp.stack([cells // size, cells % size], axis=-1).astype(jnp.int32)


def _packed(positions, levels, present):
    """Rows (row, col, level) of those present, in order, then the absent; flattened."""
    rows = jnp.concatenate([positions, levels[:, None]], axis=1)
    rows = jnp.where(present[:, None], rows, jnp.asarray(_ABSENT))
    return rows[jnp.argsort(~present, stable=True)].reshape(-1)
