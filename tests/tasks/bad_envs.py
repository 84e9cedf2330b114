"""Environments with one mistake each, for `check_task`."""

import jax.numpy as jnp
from jaxmarl.environments import spaces

from benchmarks.own_task.rendezvous import Rendezvous


class Growing(Rendezvous):
    """The step counter changes its dtype."""

    def step_env(self, key, state, actions):
        obs, state, *rest = super().step_env(key, state, actions)
        return obs, state.replace(steps=state.steps.astype(jnp.float32)), *rest


class LateByOne(Rendezvous):
    """Says done one step after its limit."""

    def is_terminal(self, state):
        return jnp.zeros((), bool)

    def step_env(self, key, state, actions):
        obs, new, rewards, dones, infos = super().step_env(key, state, actions)
        done = new.steps >= self.max_steps + 1
        return obs, new, rewards, dict.fromkeys(dones, done), infos


class ResetsItself(Rendezvous):
    """Hands out the next episode's first state."""

    def step_env(self, key, state, actions):
        obs, new, rewards, dones, infos = super().step_env(key, state, actions)
        steps = jnp.where(dones["__all__"], 0, new.steps)
        return obs, new.replace(steps=steps), rewards, dones, infos


class WrongSpaces(Rendezvous):
    """Declares smaller observations than it makes."""

    def __init__(self):
        super().__init__()
        self.observation_spaces["agent_1"] = spaces.Box(-0.5, 0.5, (2,))


class WrongLayout(Rendezvous):
    """Two slices of the declared layout have changed places."""

    def state_layout(self):
        from qllm_jax.tasks.layout import Part

        inf = float("inf")
        return [
            Part("a.to_buoy", 1, "m", -inf, inf, "buoy minus a", lambda s: s.buoy - s.positions[0]),
            Part("a.position", 1, "m", -inf, inf, "a", lambda s: s.positions[0]),
            Part("b.position", 1, "m", -inf, inf, "b", lambda s: s.positions[1]),
            Part("b.to_buoy", 1, "m", -inf, inf, "buoy minus b", lambda s: s.buoy - s.positions[1]),
        ]


class NoLimit(Rendezvous):
    """Forgets its time limit."""

    def __init__(self):
        super().__init__(max_steps=float("inf"))


class Continuous(Rendezvous):
    """Has no discrete actions."""

    def __init__(self):
        super().__init__()
        self.action_spaces["agent_0"] = spaces.Box(-1.0, 1.0, (1,))
