"""An environment of one's own, as a template: two walkers who should meet, and a drifting buoy.

    qllm-jax tasks check benchmarks/own_task/rendezvous.py:Rendezvous
    qllm-jax run task.name=benchmarks/own_task/rendezvous.py:Rendezvous

Only what stands above the line "optional" is needed. Without `state_layout` the table for the
coder is worked out from the state below; without `task_text` the docstring of the class is used.
"""

import jax
import jax.numpy as jnp
from flax import struct
from jaxmarl.environments import spaces
from jaxmarl.environments.multi_agent_env import MultiAgentEnv


@struct.dataclass
class RendezvousState:
    """Fixed shapes and dtypes: what `reset` returns must look like what `step_env` returns."""

    positions: jax.Array  # [2] float32, the walkers on a line
    buoy: jax.Array  # [] float32
    steps: jax.Array  # [] int32


class Rendezvous(MultiAgentEnv):
    """Two walkers on a line should stand together at the buoy. Each sees itself and the buoy.

    Team reward per step: minus the walkers' distance from each other, minus the distance of
    each from the buoy. The episode is won, and over, when both are within 0.1 of the buoy.
    """

    def __init__(self, stride: float = 0.1, max_steps: int = 20):
        """Args: stride: length of a step. max_steps: time limit."""
        super().__init__(num_agents=2)
        self.stride, self.max_steps = stride, max_steps
        self.action_spaces = {agent: spaces.Discrete(3) for agent in self.agents}
        self.observation_spaces = {
            agent: spaces.Box(-jnp.inf, jnp.inf, (2,)) for agent in self.agents
        }

    def reset(self, key):
        """Everything anywhere in [-1, 1]."""
        places = jax.random.uniform(key, (3,), minval=-1.0, maxval=1.0)
        state = RendezvousState(places[:2], places[2], jnp.zeros((), jnp.int32))
        return self.get_obs(state), state

    def step_env(self, key, state, actions):
        """Walk left (0), stay (1) or walk right (2); the buoy drifts. Never resets itself."""
        moves = jnp.stack([actions[agent] for agent in self.agents]) - 1.0
        drift = 0.01 * jax.random.normal(key)
        state = RendezvousState(
            state.positions + self.stride * moves, state.buoy + drift, state.steps + 1
        )
        apart = jnp.abs(state.positions[0] - state.positions[1])
        reward = -apart - jnp.abs(state.positions - state.buoy).sum()
        done = self.is_terminal(state) | (state.steps >= self.max_steps)
        rewards = dict.fromkeys(self.agents, reward)
        return (
            self.get_obs(state),
            state,
            rewards,
            dict.fromkeys([*self.agents, "__all__"], done),
            {},
        )

    def get_obs(self, state):
        """Own position, and the buoy relative to it."""
        return {
            agent: jnp.stack([state.positions[i], state.buoy - state.positions[i]])
            for i, agent in enumerate(self.agents)
        }

    # ---- optional ----

    interchangeable = ((0, 1),)
    action_names = ("left", "stay", "right")

    def is_terminal(self, state):
        """What ends an episode besides the time limit (which must be kept apart from it)."""
        return (jnp.abs(state.positions - state.buoy) < 0.1).all()

    def team_reward(self, rewards, infos):
        """Both are paid the same reward, so it counts once."""
        return rewards["agent_0"]
