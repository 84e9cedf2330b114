"""The memory: what is written comes back, the oldest is overwritten, nothing is stored twice."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from qllm_jax.training.replay import add, init_replay, replay_bytes, sample
from qllm_jax.training.rollout import Record

CAPACITY, T, B, N, A = 8, 4, 2, 2, 11


@pytest.fixture(scope="module")
def env(probes):
    """An environment of which nothing can be left out: it only lends its sizes."""
    return probes.team_env(
        probes.sum_of_actions, num_actions=A, all_actions_available=False, state_from_obs=None
    )


def numbered_record(number):
    """A record in which every fact tells which record and environment it is from."""
    random = np.random.default_rng(number)
    env_id = np.arange(B, dtype=np.float32) + 10 * number
    terminated = random.random((T - 1, B)) < 0.3
    avail = random.random((T, B, N, A)) < 0.5
    avail[..., 0] = True
    return Record(
        seen=np.broadcast_to(env_id[:, None, None], (T, B, N, 2)),
        state=np.broadcast_to(env_id[:, None], (T, B, 2)),
        avail_actions=avail,
        actions=random.integers(0, A, (T - 1, B, N)),
        reward=np.broadcast_to(env_id, (T - 1, B)),
        terminated=terminated,
        truncated=~terminated & (random.random((T - 1, B)) < 0.3),
    )


def test_the_memory_is_circular(env):
    replay = init_replay(env, CAPACITY, T, "float32")
    write = jax.jit(add)
    model = np.zeros(CAPACITY)  # the same in NumPy: the first reward of every window
    for index in range(7):
        record = numbered_record(index)
        replay = write(replay, jax.tree.map(jnp.asarray, record), jnp.int32(index))
        for b in range(B):
            model[(index * B + b) % CAPACITY] = record.reward[0, b]
        np.testing.assert_array_equal(replay.reward[:, 0], model)
        np.testing.assert_array_equal(replay.seen[:, 2 * N * 2 + 3], model)


def test_windows_come_back_as_they_were_collected(env):
    replay = init_replay(env, CAPACITY, T, "float32")
    records = [numbered_record(index) for index in range(3)]
    for index, record in enumerate(records):
        replay = add(replay, jax.tree.map(jnp.asarray, record), jnp.int32(index))
    window = jax.jit(lambda key: sample(key, replay, jnp.int32(3 * B), 64, env))(jax.random.key(0))
    assert window.obs.shape == (T, 64, N, 2)
    drawn = np.asarray(window.reward[0]).astype(int)
    assert set(drawn) == {0, 1, 10, 11, 20, 21}  # all that is filled, and nothing that is not
    for column, number in enumerate(drawn):
        record, b = records[number // 10], number % 10
        np.testing.assert_array_equal(window.state[:, column], record.state[:, b])
        np.testing.assert_array_equal(window.avail_actions[:, column], record.avail_actions[:, b])
        np.testing.assert_array_equal(window.actions[:-1, column], record.actions[:, b])
        np.testing.assert_array_equal(window.terminated[:-1, column], record.terminated[:, b])
        np.testing.assert_array_equal(window.truncated[:-1, column], record.truncated[:, b])
    ended = np.asarray(window.terminated | window.truncated)
    np.testing.assert_array_equal(window.last[1:], ended[:-1])
    np.testing.assert_array_equal(window.reset[1:], window.last[:-1])
    assert not np.any(window.last[0])
    assert np.all(window.reset[0])


@pytest.mark.parametrize(("dtype", "width"), [("float32", 4), ("bfloat16", 2)])
def test_each_fact_is_stored_once(probes, env, dtype, width):
    # Per window: obs T·N·2 and state T·2 numbers; availability T·N·2 bytes (11 bits); actions
    # (T−1)·N bytes; rewards (T−1)·4 bytes; ends T−1 bytes.
    everything = (T * N * 2 + T * 2) * width + T * N * 2 + (T - 1) * (N + 4 + 1)
    assert replay_bytes(env, CAPACITY, T, dtype) == CAPACITY * everything
    # Where the state follows from the observations and every action is legal, neither is stored.
    lean = dataclasses.replace(env, state_from_obs=lambda obs: obs[0], all_actions_available=True)
    facts = T * N * 2 * width + (T - 1) * (N + 4 + 1)
    assert replay_bytes(lean, CAPACITY, T, dtype) == CAPACITY * facts
