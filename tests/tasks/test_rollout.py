"""Random play: what is drawn, what is legal, what is counted."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from qllm_jax.errors import UserError
from qllm_jax.tasks import get_task, rollout_states
from qllm_jax.tasks.rollout import Rollout, finished_episodes, random_actions


@pytest.mark.parametrize("name", ["matrix/climbing", "lbf/8x8-2p-2f-coop"])
def test_random_states_are_reproducible_and_differ_by_key(name):
    spec = get_task(name)
    states = rollout_states(spec, jax.random.key(5), 33)
    assert states.shape == (33, spec.env.state_dim)
    assert states.dtype == np.float32
    np.testing.assert_array_equal(states, rollout_states(spec, jax.random.key(5), 33))
    assert not np.array_equal(states, rollout_states(spec, jax.random.key(6), 33))


def test_more_states_than_one_batch_holds():
    assert rollout_states(get_task("matrix/climbing"), jax.random.key(0), 1000).shape == (1000, 2)


def test_no_states_is_a_mistake():
    with pytest.raises(UserError, match="at least 1"):
        rollout_states(get_task("matrix/climbing"), jax.random.key(0), 0)


def test_random_actions_are_legal_and_uniform():
    avail = jnp.array([[True, False, True], [False, True, False]])
    keys = jax.random.split(jax.random.key(0), 2000)
    drawn = np.asarray(jax.vmap(random_actions, in_axes=(0, None))(keys, avail))
    assert set(np.unique(drawn[:, 0])) == {0, 2}
    assert set(np.unique(drawn[:, 1])) == {1}
    assert abs((drawn[:, 0] == 2).mean() - 0.5) < 0.04


def test_random_play_scores_what_the_catalog_says(play):
    """25 steps of payoff mean -31/9; the standard error over 2 x 64 episodes is about 6."""
    spec, played = play("matrix/climbing", 64, 52)
    assert abs(finished_episodes(spec, played).returns.mean() - spec.landmarks["random"]) < 25


def test_first_episodes_do_not_favour_the_short_ones():
    """Lengths 1 and 3 by turns; six slots hold two of the first environment's, one of the other."""
    over = np.array([[0, 1, 0, 0, 0, 1], [0, 0, 0, 1, 0, 0]], bool).T
    steps = SimpleNamespace(reward=np.ones((6, 2)), terminated=over, truncated=np.zeros_like(over))
    spec, played = SimpleNamespace(outcome=None), Rollout(None, steps, None)
    finished = finished_episodes(spec, played)
    assert finished.lengths.tolist() == [1, 3, 3]
    assert finished.lengths[finished.first].tolist() == [1, 3]
