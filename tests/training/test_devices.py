"""Devices and memory: pmap, eight devices, a second start, and the replay's size."""

import json
from pathlib import Path

import command_line
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from qllm_jax.compose import compose_config
from qllm_jax.tasks import get_task
from qllm_jax.training import make_program, runs_for_seeds
from qllm_jax.training.chunk import compile_chunk, initial_states, run_chunk
from qllm_jax.training.placement import place_runs
from qllm_jax.training.replay import replay_bytes

ROOT = Path(__file__).parents[2]
_MIB = 2**20


def test_a_chunk_runs_under_pmap(spec, vdn, config):
    """One run per device, as users of pmap spread them: equal to the sharded program."""
    program = make_program(spec.env, vdn, config, spec.outcome)
    runs = runs_for_seeds(config).select([0, 1])
    placement = place_runs(runs, jax.local_devices())
    state = jax.device_get(initial_states(program, placement))
    expected = compile_chunk(program, placement, "highest")(placement.place(state), 0, 6)

    def one(seed_id, hyper, state):
        return run_chunk(program, seed_id, hyper, state, jnp.int32(0), jnp.int32(6))

    with jax.default_matmul_precision("highest"):
        found = jax.pmap(one)(runs.seed_ids.astype(np.int32), runs.hyper, state)
    for ours, theirs in zip(jax.tree.leaves(expected), jax.tree.leaves(found), strict=True):
        np.testing.assert_allclose(theirs, ours, rtol=1e-5, atol=1e-6)


TRAIN = [
    "train", "task=matrix/climbing", "mixer=qmix", "agent.hidden_dim=8", "learner.num_envs=2",
    "learner.replay_capacity=64", "learner.batch_size=8", "learner.learning_starts=200",
    "runner.num_seeds=9", "runner.num_env_steps=1000", "runner.num_evaluations=2",
    "runner.num_eval_episodes=2",
]  # fmt: skip


@pytest.fixture(scope="module")
def train(tmp_path_factory):
    """Train in a process with so many devices; gives metrics, `run.json` and what JAX compiled."""
    cache = tmp_path_factory.mktemp("cache")

    def run(num_devices):
        place = tmp_path_factory.mktemp("runs")
        process = command_line.start(
            cache,
            *TRAIN,
            f"runner.output_dir={place}",
            num_devices=num_devices,
            JAX_LOG_COMPILES="1",
        )
        log, _ = process.communicate(timeout=200)
        assert process.returncode == 0, log
        (info,) = place.rglob("run.json")
        with np.load(info.parent / "metrics.npz") as file:
            return dict(file), json.loads(info.read_text()), log

    return run


@pytest.fixture(scope="module")
def one_device(train):
    return train(1)


def test_eight_devices_change_no_result(one_device, train):
    metrics, info, _ = train(8)
    assert "9 runs on 8" in info["device"]
    assert "fill the 16 places" in info["device"]
    for name, value in one_device[0].items():
        np.testing.assert_allclose(metrics[name], value, rtol=1e-5, err_msg=name)


def test_a_second_start_compiles_nothing(one_device, train):
    missed = "Persistent compilation cache miss"
    assert missed in one_device[2] or one_device[1]["compile_s"] > 1.0
    metrics, info, log = train(1)
    assert info["compile_s"] < 0.8 * one_device[1]["compile_s"]
    assert missed not in log
    np.testing.assert_array_equal(metrics["return"], one_device[0]["return"])


@pytest.mark.parametrize(
    ("overrides", "jaxmarl_mib"),  # the latter from shared/reference/baselines.md
    [
        (["task=mpe/simple_spread"], 69.0),
        (["task=smax/3s_vs_5z"], 1024.0),
    ],
)
def test_a_replay_takes_a_quarter_of_jaxmarls(overrides, jaxmarl_mib):
    config = compose_config(overrides)
    learner, env = config.learner, get_task(config.task.name).env
    window = env.episode_length + 1
    size = replay_bytes(env, learner.replay_capacity, window, learner.replay_dtype)
    assert size <= jaxmarl_mib * _MIB / 4
