"""The runner: a run's numbers depend on its seed and settings, and on nothing else."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from qllm_jax.errors import UserError
from qllm_jax.training import chunk as chunk_module
from qllm_jax.training import (
    join_paused,
    mixer_scale,
    run_training,
    runs_for_seeds,
    runs_for_tournament,
)

pytestmark = pytest.mark.usefixtures("shared_programs")


def total(agent_qs, state):
    return jnp.sum(agent_qs)


def assert_same(left, right, rtol=1e-5, rows=slice(None)):
    """Metrics of some of `left`'s runs equal `right`'s."""
    for name, value in right.metrics.items():
        expected = left.metrics[name] if name == "env_steps" else left.metrics[name][rows]
        np.testing.assert_allclose(value, expected, rtol=rtol, atol=1e-5, err_msg=name)


def with_runner(config, **changes):
    return dataclasses.replace(config, runner=dataclasses.replace(config.runner, **changes))


def test_what_a_training_reports(reference, config):
    output, reports = reference
    assert output.metrics["return"].shape == (3, 3)
    assert output.metrics["credit_mean"].shape == (3, 3, 2)
    # 40 iterations × 4 environments × 3 steps, evaluated before, halfway and at the end.
    np.testing.assert_array_equal(output.metrics["env_steps"], [0, 240, 480])
    assert np.all(np.isnan(output.metrics["loss"][:, 0]))
    assert np.all(np.isfinite(output.metrics["loss"][:, 1:]))
    np.testing.assert_allclose(output.metrics["epsilon"][0], [1.0, 0.1, 0.1], rtol=1e-6)
    assert [report.chunk for report in reports] == [1, 2, 3]
    assert np.isnan(reports[0].env_steps_per_second)
    assert reports[1].env_steps_per_second > 0
    assert reports[-1].remaining_s == 0
    assert not output.interrupted
    assert output.num_diverged == 0
    assert output.compile_s > 0
    assert "1 repeated run fill the 4 places" in output.devices
    # T·N·2 observations of 4 bytes, (T − 1)(N + 4 + 1) bytes of actions, rewards and ends.
    assert output.replay_bytes_per_run == 32 * (4 * 2 * 2 * 4 + 3 * (2 + 4 + 1))
    assert {"jax", "python", "flax"} <= output.versions.keys()
    assert output.run_params(1).agent["gru_hidden"].shape == (8, 24)


def test_seeds_differ(reference):
    for name in ("loss", "q_tot", "grad_norm"):
        assert len(np.unique(reference[0].metrics[name][:, -1])) == 3


def test_a_seed_alone_equals_itself_in_a_batch(reference, spec, vdn, config):
    alone = run_training(spec, vdn, config, runs=runs_for_seeds(config).select([1]))
    assert_same(reference[0], alone, rows=slice(1, 2))


def test_one_device_equals_two_and_so_does_any_chunking(reference, spec, vdn, config):
    finer = with_runner(config, num_devices=1, num_evaluations=4)
    output = run_training(spec, vdn, finer)
    assert "3 runs on 1 × cpu" in output.devices
    for name in ("return", "q_tot", "epsilon", "credit_mean"):
        if name == "q_tot":  # a mean over the gradient steps since the evaluation before
            quarters = output.metrics[name][:, 1:].reshape(3, 2, 2)
            # The first iteration of all only collects: 9 steps, then 10 in every quarter.
            weights = np.array([[9 / 19, 10 / 19], [0.5, 0.5]])
            halves = np.sum(quarters * weights, axis=-1)
            np.testing.assert_allclose(halves, reference[0].metrics[name][:, 1:], rtol=1e-4)
        else:
            coarse = output.metrics[name][:, ::2]
            np.testing.assert_allclose(coarse, reference[0].metrics[name], rtol=1e-5)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5),
        output.params,
        reference[0].params,
    )


def test_a_tfcaf_that_sums_is_vdn_beside_other_candidates(reference, spec, env, config, probes):
    """A tournament of three: the sum, one that breaks, and the sum at another scale."""

    def broken(agent_qs, state):
        return jnp.sum(jnp.sqrt(-1.0 - agent_qs**2))

    mixer = probes.mixer_for(env, "tfcaf", (total, broken, total))
    runs = runs_for_tournament(config, 3, scale=[1.0, 1.0, 2.0])
    np.testing.assert_array_equal(runs.seed_ids, [0, 1, 2] * 3)
    np.testing.assert_array_equal(runs.hyper.mixer.candidate, np.repeat([0, 1, 2], 3))
    output = run_training(spec, mixer, config, runs=runs)
    for name, value in reference[0].metrics.items():
        if name != "env_steps":
            np.testing.assert_allclose(output.metrics[name][:3], value, rtol=2e-4, err_msg=name)
    # The broken candidate's runs are frozen where they were, counted, and stop nobody.
    np.testing.assert_array_equal(
        output.metrics["alive"][:, -1], [True] * 3 + [False] * 3 + [True] * 3
    )
    assert output.num_diverged == 3
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(output.params))
    assert np.all(output.metrics["credit_mean"][6:] == pytest.approx(2.0))


def test_a_training_is_traced_and_compiled_once(spec, vdn, config, monkeypatch):
    traces = []
    original = chunk_module.run_chunk

    def counted(*args):
        traces.append(args)
        return original(*args)

    monkeypatch.setattr(chunk_module, "run_chunk", counted)
    run_training(spec, vdn, with_runner(config, num_evaluations=5))  # compiled by no other test
    assert len(traces) == 1


def test_a_stop_keeps_what_there_is_and_resuming_is_bit_identical(
    reference, spec, vdn, config, tmp_path
):
    stop_after = iter([False, True])
    first = run_training(
        spec, vdn, config, should_stop=lambda: next(stop_after), checkpoint_dir=tmp_path / "saved"
    )
    assert first.interrupted
    assert first.metrics["return"].shape == (3, 2)
    np.testing.assert_array_equal(first.metrics["env_steps"], [0, 240])
    resumed = run_training(spec, vdn, config, checkpoint_dir=tmp_path / "saved", resume=True)
    assert not resumed.interrupted
    for name, value in reference[0].metrics.items():
        np.testing.assert_array_equal(resumed.metrics[name], value, err_msg=name)
    jax.tree.map(np.testing.assert_array_equal, resumed.params, reference[0].params)
    changed = dataclasses.replace(config, learner=dataclasses.replace(config.learner, lr=0.5))
    with pytest.raises(UserError, match=r"other settings: .*learner\.lr"):
        run_training(spec, vdn, changed, checkpoint_dir=tmp_path / "saved", resume=True)
    with pytest.raises(UserError, match="already holds a checkpoint"):
        run_training(spec, vdn, config, checkpoint_dir=tmp_path / "saved")


def test_paused_runs_go_on_as_if_they_had_not_stopped(reference, spec, vdn, config):
    first = run_training(spec, vdn, config, pause_after=2)
    assert not first.interrupted
    assert first.metrics["return"].shape == (3, 2)
    assert first.paused.num_chunks == 2
    whole = run_training(spec, vdn, config, start=first.paused)
    assert whole.paused is None
    for name, value in reference[0].metrics.items():
        np.testing.assert_array_equal(whole.metrics[name], value, err_msg=name)
    jax.tree.map(np.testing.assert_array_equal, whole.params, reference[0].params)


def test_some_paused_runs_go_on_in_another_order(reference, spec, vdn, config):
    paused = run_training(spec, vdn, config, pause_after=2).paused
    parts = [paused.select([2]), paused.select([0])]
    runs = runs_for_seeds(config).select([2, 0])
    reports = []
    output = run_training(
        spec, vdn, config, runs=runs, start=join_paused(parts), on_chunk=reports.append
    )
    assert_same(reference[0], output, rows=[2, 0])
    assert [report.chunk for report in reports] == [3]  # the others were not done again
    with pytest.raises(ValueError, match="3 paused runs cannot be continued as 2"):
        run_training(spec, vdn, config, runs=runs, start=paused)
    early = run_training(spec, vdn, config, pause_after=1).paused
    with pytest.raises(ValueError, match=r"after \[1, 2\] chunks"):
        join_paused([paused, early])


def test_paused_runs_are_saved_before_they_go_on(reference, spec, vdn, config, tmp_path):
    paused = run_training(spec, vdn, config, pause_after=2).paused
    stopped = run_training(
        spec, vdn, config, start=paused, should_stop=lambda: True, checkpoint_dir=tmp_path
    )
    assert stopped.interrupted
    assert stopped.paused is None
    resumed = run_training(spec, vdn, config, checkpoint_dir=tmp_path, resume=True)
    assert_same(reference[0], resumed, rtol=0)


def test_mistakes_are_explained(spec, vdn, config):
    with pytest.raises(UserError, match="this process has 2"):
        run_training(spec, vdn, with_runner(config, num_devices=64))
    with pytest.raises(UserError, match="resume needs checkpoint_dir"):
        run_training(spec, vdn, config, resume=True)
    runs = runs_for_seeds(config)
    with pytest.raises(ValueError, match="one value per run"):
        dataclasses.replace(runs, seed_ids=runs.seed_ids[:2])


def test_scale_settings():
    assert mixer_scale("num_agents", 3) == 3.0
    assert mixer_scale("none", 3, "num_agents") == 1.0
    assert mixer_scale("artifact", 3, "num_agents") == 3.0
    assert mixer_scale("artifact", 3) == 1.0
