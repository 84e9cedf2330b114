"""Waves: runs that do not fit at once are trained a part at a time, to the same numbers."""

import dataclasses

import jax
import numpy as np
import pytest

from qllm_jax.compose import compose_config
from qllm_jax.config import ALL_THAT_FIT, CheckpointConfig, RunnerConfig
from qllm_jax.errors import UserError
from qllm_jax.training import make_program, most_runs, run_training, runs_for_seeds
from qllm_jax.training.chunk import compile_chunk
from qllm_jax.training.fleet import Fleet, memory_limit, state_bytes
from qllm_jax.training.placement import place_runs

pytestmark = pytest.mark.usefixtures("shared_programs")
_GIB = 2**30


@pytest.fixture(scope="module")
def program(spec, vdn, config):
    return make_program(spec.env, vdn, config, spec.outcome)


@pytest.fixture(scope="module")
def two_runs_gib(program, config):
    """What two runs per device take, in GiB."""
    runs = runs_for_seeds(config).select(np.zeros(4, int))
    call = compile_chunk(program, place_runs(runs, jax.local_devices()), "highest")
    assert call.num_bytes > 2 * state_bytes(program)
    return call.num_bytes / _GIB


def limited(config, gib, num_seeds=7):
    runner = dataclasses.replace(config.runner, memory_gib=gib, num_seeds=num_seeds)
    return dataclasses.replace(config, runner=runner)


@pytest.fixture(scope="module")
def at_once(spec, vdn, config):
    return run_training(spec, vdn, limited(config, None))


def test_waves_are_as_large_as_fits_and_alike(program, config, two_runs_gib):
    settings = limited(config, 1.01 * two_runs_gib)
    fleet = Fleet(program, runs_for_seeds(settings), settings.runner)
    # Seven runs on two devices with two places each: a wave of four and one of three.
    assert fleet.num_waves == 2
    assert "7 runs in 2 waves of 4" in fleet.describe()
    assert "GiB per device" in fleet.describe()


def test_waves_train_every_run_as_at_once(spec, vdn, config, at_once, two_runs_gib, caplog):
    output = run_training(spec, vdn, limited(config, 1.01 * two_runs_gib))
    assert "2 waves" in output.devices
    assert "2 waves" in caplog.text  # said before anything ran
    for name, value in at_once.metrics.items():
        np.testing.assert_allclose(output.metrics[name], value, rtol=1e-5, err_msg=name)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6),
        output.params,
        at_once.params,
    )


def test_runs_that_paused_in_waves_go_on_in_one(spec, vdn, config, at_once, two_runs_gib):
    first = run_training(spec, vdn, limited(config, 1.01 * two_runs_gib), pause_after=2)
    assert "2 waves" in first.devices
    runs = runs_for_seeds(limited(config, None)).select([1, 6])
    output = run_training(spec, vdn, config, runs=runs, start=first.paused.select([1, 6]))
    assert "waves" not in output.devices
    np.testing.assert_allclose(
        output.metrics["return"], at_once.metrics["return"][[1, 6]], rtol=1e-5
    )


@pytest.mark.parametrize("replay", [True, False])
def test_a_stopped_training_in_waves_continues(
    spec, vdn, config, at_once, two_runs_gib, tmp_path, replay
):
    settings = dataclasses.replace(
        limited(config, 1.01 * two_runs_gib), checkpoint=CheckpointConfig(replay=replay)
    )
    answers = iter([False, True])
    run_training(spec, vdn, settings, should_stop=lambda: next(answers), checkpoint_dir=tmp_path)
    # The memory of the machine that goes on does not matter.
    elsewhere = dataclasses.replace(limited(config, None), checkpoint=settings.checkpoint)
    resumed = run_training(spec, vdn, elsewhere, checkpoint_dir=tmp_path, resume=True)
    assert resumed.metrics["return"].shape == at_once.metrics["return"].shape
    if replay:
        for name, value in at_once.metrics.items():
            np.testing.assert_allclose(resumed.metrics[name], value, rtol=1e-5, err_msg=name)


def test_too_little_memory_for_one_run_is_explained(program, config):
    settings = limited(config, state_bytes(program) / 2 / _GIB)
    with pytest.raises(UserError, match=r"one run needs .* raise runner.memory_gib"):
        Fleet(program, runs_for_seeds(settings), settings.runner)


def test_max_fills_the_memory(program, config, two_runs_gib):
    settings = limited(config, 10 * two_runs_gib, num_seeds=1)
    count = most_runs(program, runs_for_seeds(settings), settings.runner)
    assert count % 2 == 0  # as many on each of two devices
    assert count / 2 >= 20  # ten times the memory of two runs, whose intermediates are shared
    several = limited(config, 10 * two_runs_gib, num_seeds=count)
    assert Fleet(program, runs_for_seeds(several), several.runner).num_waves == 1
    more = limited(config, 10 * two_runs_gib, num_seeds=count + count // 4)
    assert Fleet(program, runs_for_seeds(more), more.runner).num_waves == 2


def test_max_is_said_on_the_command_line():
    assert compose_config(["runner.num_seeds=max"]).runner.num_seeds == ALL_THAT_FIT


def test_the_host_has_memory_where_it_is_the_device():
    devices = jax.local_devices()
    one, both = (memory_limit(RunnerConfig(), devices[:n]) for n in (1, 2))
    assert one > 64 * 2**20
    assert 1.5 < one / both < 2.5
