"""Our level-based foraging against lbforaging: every transition, observation and legal action."""

import importlib.util
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from qllm_jax.envs.lbf import ForagingState, LevelBasedForaging

HERE = Path(__file__).parent
TASKS = {
    "lbf/8x8-2p-2f-coop": {"size": 8, "num_agents": 2, "num_foods": 2, "sight": 2,
                           "force_coop": True},
    "lbf/10x10-3p-3f": {"size": 10, "num_agents": 3, "num_foods": 3, "sight": 2},
    "lbf/15x15-4p-3f": {"size": 15, "num_agents": 4, "num_foods": 3},
}  # fmt: skip
PARITY_STEPS = 10_500


def reference(task):
    """Transitions of the real package where it is installed, otherwise the recorded ones."""
    if importlib.util.find_spec("lbforaging") is not None:
        spec = importlib.util.spec_from_file_location("lbf_reference", HERE / "lbf_reference.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module.record(task, PARITY_STEPS)
    golden = np.load(HERE / "data" / "lbf_golden.npz")
    prefix = f"{task}:"
    return {name[len(prefix) :]: golden[name] for name in golden if name.startswith(prefix)}


def states_from(arrays, side):
    agents = jnp.asarray(arrays[f"{side}.agents"], jnp.int32)
    foods = jnp.asarray(arrays[f"{side}.foods"], jnp.int32)
    return ForagingState(
        agent_pos=agents[..., :2],
        agent_level=agents[..., 2],
        food_pos=foods[..., :2],
        food_level=foods[..., 2],
        food_total=jnp.asarray(arrays["food_total"], jnp.int32),
        last_actions=jnp.asarray(arrays["actions"], jnp.int32),
        step=jnp.asarray(arrays["step"], jnp.int32),
    )


@pytest.mark.parametrize("task", TASKS)
def test_every_transition_is_lbforagings(task):
    env, arrays = LevelBasedForaging(**TASKS[task]), reference(task)
    before, after = states_from(arrays, "before"), states_from(arrays, "after")

    @jax.jit
    @jax.vmap
    def transition(state, actions):
        by_agent = {agent: actions[i] for i, agent in enumerate(env.agents)}
        obs, new, rewards, dones, _ = env.step_env(jax.random.key(0), state, by_agent)
        legal = env.get_avail_actions(new)

        def stack(by):
            return jnp.stack([by[agent] for agent in env.agents])

        return stack(obs), new, stack(rewards), dones["__all__"], stack(legal)

    obs, new, rewards, done, legal = transition(before, jnp.asarray(arrays["actions"], jnp.int32))
    np.testing.assert_array_equal(new.agent_pos, after.agent_pos)
    np.testing.assert_array_equal(new.food_level, after.food_level)
    np.testing.assert_array_equal(obs, arrays["after.obs"])
    np.testing.assert_array_equal(legal, arrays["after.legal"])
    np.testing.assert_allclose(rewards, arrays["rewards"], atol=1e-6)
    np.testing.assert_array_equal(done, arrays["done"])
    np.testing.assert_array_equal(new.step, after.step + 1)

    pickups = (np.asarray(before.food_level) > 0) & (np.asarray(new.food_level) == 0)
    assert pickups.sum() >= 20  # what was compared includes what matters
    stayed = (arrays["actions"] % 5 != 0) & (new.agent_pos == before.agent_pos).all(-1)
    assert stayed.sum() >= 20  # and blocked moves


def test_resets_obey_the_spawning_rules():
    env = LevelBasedForaging(**TASKS["lbf/10x10-3p-3f"])
    _, states = jax.jit(jax.vmap(env.reset))(jax.random.split(jax.random.key(0), 2000))
    foods, agents = np.asarray(states.food_pos), np.asarray(states.agent_pos)
    assert foods.min() == 1
    assert foods.max() == 8
    assert (agents.min(), agents.max()) == (0, 9)
    everything = np.concatenate([foods, agents], axis=1)
    cells = everything[..., 0] * 10 + everything[..., 1]
    assert (np.diff(np.sort(cells, axis=1), axis=1) > 0).all()  # nobody shares a cell
    assert (np.diff(cells[:, :3], axis=1) > 0).all()  # foods in row-major order
    for a in range(3):
        for b in range(a):
            away = np.abs(foods[:, a] - foods[:, b])
            assert (away.max(axis=1) > 1).all()
            assert ((away.max(axis=1) > 2) | (away.min(axis=1) > 0)).all()
    levels = np.asarray(states.agent_level)
    assert set(np.unique(levels)) == {1, 2}
    assert abs(levels.mean() - 1.5) < 0.03
    top = levels.sum(axis=1, keepdims=True)  # three agents: the three weakest are all
    assert (np.asarray(states.food_level) <= top).all()
    # uniform on 1..top has mean (top + 1) / 2
    excess = np.asarray(states.food_level) - (top + 1) / 2
    assert abs(excess.mean()) < 0.06
    np.testing.assert_array_equal(states.food_total, states.food_level.sum(axis=1))


def test_forced_cooperation_takes_everyone():
    env = LevelBasedForaging(**TASKS["lbf/8x8-2p-2f-coop"])
    _, states = jax.jit(jax.vmap(env.reset))(jax.random.split(jax.random.key(1), 100))
    both = np.asarray(states.agent_level).sum(axis=1, keepdims=True)
    np.testing.assert_array_equal(states.food_level, np.broadcast_to(both, (100, 2)))
