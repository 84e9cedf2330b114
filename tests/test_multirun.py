"""Hydra's multirun: a training per job, whichever launcher starts the jobs."""

import importlib.util
import os
import subprocess
import sys

import command_line
import numpy as np
import pytest
import yaml

from qllm_jax import multirun, pipeline
from qllm_jax.compose import compose_config
from qllm_jax.config import ALL_THAT_FIT, config_to_mapping
from qllm_jax.errors import UserError
from qllm_jax.results import RunResult, final_scores, find_runs, iqm

TINY = (*command_line.TINY, "runner.num_env_steps=400", "runner.num_evaluations=2")
JOBLIB = importlib.util.find_spec("joblib") is not None  # the launcher brings it


@pytest.mark.parametrize(
    "launcher",
    [
        "basic",
        pytest.param(
            "joblib",
            marks=pytest.mark.skipif(not JOBLIB, reason="the extra `launchers` is missing"),
        ),
    ],
)
def test_every_combination_is_a_run_of_its_own(launcher, tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "qllm_jax.multirun", "-m", f"hydra/launcher={launcher}",
         f"hydra.sweep.dir={tmp_path}/hydra", f"runner.output_dir={tmp_path}/runs", *TINY,
         "learner.lr=1e-4,1e-3"],
        env={**os.environ, "JAX_PLATFORMS": "cpu"},
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    runs = [RunResult.load(path) for path in find_runs(tmp_path / "runs" / "matrix" / "climbing")]
    assert sorted(run.config["learner"]["lr"] for run in runs) == [1e-4, 1e-3]
    for run in runs:
        assert run.info["status"] == "complete"
        assert run.metrics["return"].shape == (2, 3)
        assert run.config["mixer"]["name"] == "vdn"
        assert run.config["learner"]["batch_size"] == 4  # a key that the YAML leaves to its default


def test_a_job_is_worth_its_final_score(tmp_path):
    config = compose_config([*TINY, f"runner.output_dir={tmp_path}"])
    value = multirun.final_score_of(yaml.safe_load(yaml.safe_dump(config_to_mapping(config))))
    (path,) = find_runs(tmp_path / "matrix" / "climbing")
    scores = final_scores(RunResult.load(path).metrics["return"])
    assert value == pytest.approx(np.mean(scores))  # with two seeds the IQM is the mean
    assert value == pytest.approx(float(iqm(scores)))


def test_a_mistake_is_told_without_a_traceback(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "qllm_jax.multirun", "task=matrix/climbing", "mixer=vdn",
         f"hydra.run.dir={tmp_path}", "runner.num_seeds=0"],
        env={**os.environ, "JAX_PLATFORMS": "cpu"},
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "runner.num_seeds is 0" in done.stderr
    assert "Traceback" not in done.stderr


def test_as_many_seeds_as_fit_may_be_asked_for(monkeypatch):
    asked = []
    monkeypatch.setattr(pipeline, "train_job", lambda config: asked.append(config) or 1 / 0)
    values = config_to_mapping(compose_config(TINY))
    values["runner"]["num_seeds"] = "max"
    with pytest.raises(ZeroDivisionError):
        multirun.final_score_of(values)
    assert asked[0].runner.num_seeds == ALL_THAT_FIT


def test_a_config_that_is_no_mapping_is_refused():
    with pytest.raises(UserError, match="must hold a mapping"):
        multirun.final_score_of([])
