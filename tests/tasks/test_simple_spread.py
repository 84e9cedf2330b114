"""simple_spread: reward by hand, layout for other team sizes, relabelling."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from qllm_jax.errors import UserError
from qllm_jax.tasks import get_task
from qllm_jax.tasks.layout import layout_errors, tiling_errors
from qllm_jax.tasks.rollout import finished_episodes, rollout


def test_one_step_pays_coverage_and_collisions():
    """Team reward Σ_i 0.5·h_i + 0.5·c after a step in which nobody moves.

    Agents 0 and 1 are 0.25 apart (they collide: h = -1 each) and are at rest, but they push each
    other only after positions have been integrated, so this step's reward sees them unmoved.
    Nearest distances: landmark 0 at agent 0's place 0; landmark 1 at (1, 0.5), agent 2 at (1, 0):
    0.5; landmark 2 at (1, -0.25): 0.25. c = -0.75. Sum: 0.5·(-2) + 3·0.5·(-0.75) = -2.125.
    """
    env = get_task("mpe/simple_spread").env
    env_state, _ = env.reset(jax.random.key(0))
    p_pos = jnp.array([[0, 0], [0.25, 0], [1, 0], [0, 0], [1, 0.5], [1, -0.25]], jnp.float32)
    env_state = env_state.replace(inner=env_state.inner.replace(p_pos=p_pos))
    _, step = env.step(jax.random.key(0), env_state, jnp.zeros(3, jnp.int32))
    assert float(step.reward) == pytest.approx(-2.125, abs=1e-5)


def test_an_episodes_return_is_the_sum_of_its_25_rewards(play):
    spec, played = play("mpe/simple_spread")
    finished = finished_episodes(spec, played)
    rewards = np.asarray(played.steps.reward)
    over = np.asarray(played.steps.truncated)
    assert np.flatnonzero(over[:, 0]).tolist() == [25, 51]
    assert finished.returns[0] == pytest.approx(sum(float(r) for r in rewards[1:26, 0]))
    assert finished.returns[1] == pytest.approx(sum(float(r) for r in rewards[27:52, 0]))
    assert rewards[0, 0] == rewards[26, 0] == 0


@pytest.mark.parametrize("num_agents", [1, 2, 6])
def test_layout_holds_for_any_team_size(num_agents):
    spec = get_task("mpe/simple_spread", num_agents=num_agents)
    assert spec.env.state_dim == num_agents * (6 * num_agents)
    assert tiling_errors(spec.layout, spec.env.state_dim) == []
    played = rollout(spec.env, jax.random.key(0), 2, 8)
    env_states = jax.tree.map(lambda x: x.reshape((-1, *x.shape[2:])), played.env_states)
    states = np.asarray(played.steps.state).reshape(-1, spec.env.state_dim)
    assert layout_errors(spec.layout, env_states, states) == []


def test_relabelled_state_is_what_relabelled_agents_would_see():
    spec = get_task("mpe/simple_spread")
    permutation = np.array([2, 0, 1])
    env_state, _first = spec.env.reset(jax.random.key(4))
    moved, _ = spec.env.step(jax.random.key(5), env_state, jnp.array([1, 2, 4]))
    order = np.concatenate([permutation, [3, 4, 5]])
    inner = moved.inner
    other = inner.replace(p_pos=inner.p_pos[order], p_vel=inner.p_vel[order])

    def state_of(inner):
        wrapped = moved.replace(inner=inner)
        return np.concatenate([field.from_env_state(wrapped) for field in spec.layout])

    np.testing.assert_array_equal(spec.relabel_state(state_of(inner), permutation), state_of(other))


def test_impossible_settings_are_explained():
    with pytest.raises(UserError, match="at least 1"):
        get_task("mpe/simple_spread", num_agents=0)
    with pytest.raises(UserError, match="local_ratio must be between"):
        get_task("mpe/simple_spread", local_ratio=2.0)
    with pytest.raises(UserError, match="Did you mean 'num_agents'"):
        get_task("mpe/simple_spread", num_agent=4)
    with pytest.raises(UserError, match="Did you mean 'mpe/simple_spread'"):
        get_task("mpe/spread")
