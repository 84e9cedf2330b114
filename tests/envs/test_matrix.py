"""The matrix games pay what their tables say, once."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from qllm_jax.tasks import get_task

PAYOFFS = {
    "matrix/climbing": [[11, -30, 0], [-30, 7, 0], [0, 6, 5]],
    "matrix/penalty-0": [[0, 0, 10], [0, 2, 0], [10, 0, 0]],
    "matrix/penalty-25": [[-25, 0, 10], [0, 2, 0], [10, 0, -25]],
    "matrix/penalty": [[-100, 0, 10], [0, 2, 0], [10, 0, -100]],
}


@pytest.mark.parametrize("name", PAYOFFS)
def test_every_joint_action_pays_its_entry_once(name):
    env = get_task(name).env
    env_state, first = env.reset(jax.random.key(0))
    np.testing.assert_array_equal(first.state, [-1, -1])
    joint = jnp.stack(jnp.meshgrid(jnp.arange(3), jnp.arange(3), indexing="ij"), -1).reshape(-1, 2)
    _, steps = jax.vmap(env.step, in_axes=(None, None, 0))(jax.random.key(1), env_state, joint)
    np.testing.assert_array_equal(steps.reward, np.ravel(PAYOFFS[name]))
    np.testing.assert_array_equal(steps.state, joint)
    np.testing.assert_array_equal(steps.obs, jnp.stack([joint, joint], axis=1))


def test_fine_is_a_setting():
    env = get_task("matrix/penalty", k=7.5).env
    env_state, _ = env.reset(jax.random.key(0))
    _, step = env.step(jax.random.key(0), env_state, jnp.array([2, 2]))
    assert float(step.reward) == -7.5


def test_landmarks_are_exact():
    # 25 steps of (11 - 30 + 0 - 30 + 7 + 0 + 0 + 6 + 5) / 9 = -31/9, and of 11
    known = get_task("matrix/climbing").landmarks
    assert known["random"] == pytest.approx(-25 * 31 / 9)
    assert known["best possible"] == 275
