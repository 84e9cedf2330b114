"""Repeated matrix games with JaxMARL's interface: small enough for every test.

Climbing and penalty: Claus and Boutilier, "The Dynamics of Reinforcement Learning in Cooperative
Multiagent Systems", AAAI 1998, https://cdn.aaai.org/AAAI/1998/AAAI98-106.pdf, figures 2 and 3.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import struct
from jaxmarl.environments import spaces
from jaxmarl.environments.multi_agent_env import MultiAgentEnv

CLIMBING = ((11.0, -30.0, 0.0), (-30.0, 7.0, 0.0), (0.0, 6.0, 5.0))


def penalty_payoff(k: float) -> tuple[tuple[float, ...], ...]:
    """The penalty game: two optima of 10, `-k` for missing each other, a safe 2."""
    return ((-k, 0.0, 10.0), (0.0, 2.0, 0.0), (10.0, 0.0, -k))


@struct.dataclass
class MatrixState:
    """What a repeated game remembers."""

    last_actions: jax.Array  # [2] int32, -1 at the reset
    step: jax.Array  # [] int32


class MatrixGame(MultiAgentEnv):
    """Two agents, one payoff matrix, both paid the full shared payoff.

    Both observe the last joint action. `step_env` ends after `max_steps` steps, exactly.
    """

    def __init__(self, payoff: Sequence[Sequence[float]], max_steps: int = 25):
        """Args: payoff: `[A, A]`, row is agent_0's action. max_steps: steps per episode."""
        super().__init__(num_agents=2)
        self.payoff = tuple(tuple(float(value) for value in row) for row in payoff)
        self.max_steps = max_steps
        num_actions = len(self.payoff)
        self.action_spaces = {agent: spaces.Discrete(num_actions) for agent in self.agents}
        self.observation_spaces = {
            agent: spaces.Box(-1.0, num_actions - 1.0, (2,)) for agent in self.agents
        }

    def reset(self, key):
        """No joint action yet: both observe -1, -1."""
        del key
        state = MatrixState(jnp.full((2,), -1, jnp.int32), jnp.zeros((), jnp.int32))
        return self.get_obs(state), state

    def step_env(self, key, state, actions):
        """Pay the shared payoff of the joint action."""
        del key
        joint = jnp.stack([actions[agent] for agent in self.agents]).astype(jnp.int32)
        state = MatrixState(joint, state.step + 1)
        reward = jnp.asarray(self.payoff, jnp.float32)[joint[0], joint[1]]
        done = state.step >= self.max_steps
        dones = dict.fromkeys((*self.agents, "__all__"), done)
        return self.get_obs(state), state, dict.fromkeys(self.agents, reward), dones, {}

    def get_obs(self, state):
        """The last joint action, for both."""
        return dict.fromkeys(self.agents, state.last_actions.astype(jnp.float32))
