"""One short random rollout per task, compiled once for all tests."""

import functools

import jax
import numpy as np
import pytest

from qllm_jax.tasks import get_task
from qllm_jax.tasks.rollout import rollout


@functools.cache
def _played(name, num_envs, num_slots):
    spec = get_task(name)
    env = spec.env
    if num_slots is None:
        num_slots = max(60, env.episode_length + 10 if env.fixed_length else 0)
    return spec, rollout(env, jax.random.key(0), num_envs, num_slots)


@pytest.fixture(scope="session")
def play():
    """`play(name, num_envs=4, num_slots=None) -> (spec, rollout)`, cached; some episodes end."""
    return lambda name, num_envs=4, num_slots=None: _played(name, num_envs, num_slots)


@pytest.fixture(scope="session")
def flat():
    """A rollout's env states and states with one leading axis."""

    def flatten(played):
        env_states = jax.tree.map(lambda x: x.reshape((-1, *x.shape[2:])), played.env_states)
        return env_states, np.asarray(played.steps.state).reshape(-1, played.steps.state.shape[-1])

    return flatten
