"""The jobs end to end, on a game that trains in seconds, with recorded answers."""

import json
import shutil
from importlib.metadata import PackageNotFoundError
from types import SimpleNamespace

import numpy as np
import pytest

import qllm_jax
from qllm_jax import pipeline
from qllm_jax.cli import main
from qllm_jax.compose import compose_config, compose_learners
from qllm_jax.config import MixerConfig
from qllm_jax.errors import UserError
from qllm_jax.jobs import compare as compare_module
from qllm_jax.jobs import reporting
from qllm_jax.jobs import run as run_module
from qllm_jax.jobs import session as session_module
from qllm_jax.jobs.artifacts import kept_tfcaf, load_tfcaf
from qllm_jax.jobs.hosts import Hosts
from qllm_jax.jobs.interrupt import StopRequest
from qllm_jax.jobs.session import Training, with_fitting_seeds
from qllm_jax.results import RunResult, find_runs
from qllm_jax.synthesis import rounds
from qllm_jax.tasks import get_task
from qllm_jax.tfcaf import save_artifact

SMALL = [
    "task=matrix/climbing",
    "agent.hidden_dim=8",
    "learner.num_envs=2",
    "learner.replay_capacity=64",
    "learner.batch_size=8",
    "learner.learning_starts=200",
    "runner.num_seeds=2",
    "runner.num_env_steps=1000",
    "runner.num_evaluations=4",
    "runner.num_eval_episodes=4",
    "synthesis.measured_env_steps=1000",
    "synthesis.measured_seeds=2",
    "llm=recorded",
]


@pytest.fixture(scope="module")
def job(tmp_path_factory):
    """`qllm-jax run` once, for every test here."""
    output = tmp_path_factory.mktemp("runs")
    config = compose_config([*SMALL, f"runner.output_dir={output}", "compare.mixers=[tfcaf,vdn]"])
    return pipeline.run(config)


def test_the_main_job_leaves_runs_an_artifact_and_a_report(job):
    assert not job.interrupted
    assert [result.name for result in job.runs] == ["tfcaf", "vdn"]
    for result in job.runs:
        assert result.info["status"] == "complete"
        assert result.metrics["return"].shape == (2, 5)
        np.testing.assert_array_equal(result.metrics["env_steps"], [0, 250, 500, 750, 1000])
        assert np.isfinite(result.metrics["return"]).all()
    assert (job.directory / "artifact" / "tfcaf.json").exists()
    assert (job.runs[0].path / "tfcaf.py").exists()


def test_the_report_shows_the_function_the_candidates_and_the_credit(job):
    html = job.report.read_text()
    artifact = json.loads((job.directory / "artifact" / "tfcaf.json").read_text())
    assert "<script src" not in html, "the report must be self-contained"
    assert "r1c1" in html
    assert "r2c1" in html
    assert "vdn" in html
    assert artifact["sha256"][:12] in html


def test_a_run_directory_is_read_back(job):
    result = RunResult.load(job.runs[0].path)
    assert result.info["task"] == "matrix/climbing"
    assert set(result.info["versions"]) >= {"jax", "python"}
    assert result.info["env_steps_per_s"] > 0


def test_the_report_is_written_again_from_the_run_directories(job, tmp_path):
    path = pipeline.report([job.directory], tmp_path / "again.html")
    assert "tfcaf" in path.read_text()


def test_a_run_without_a_measurement_is_left_out_of_a_report(job, tmp_path, capsys):
    parent = tmp_path / "runs"
    shutil.copytree(job.runs[1].path, parent / "vdn")
    shutil.copytree(job.runs[1].path, parent / "just-begun")
    (parent / "just-begun" / "metrics.npz").unlink()
    pipeline.report([parent], tmp_path / "r.html")
    assert "left out, not measured yet" in capsys.readouterr().err
    path = pipeline.export_marl_eval([parent], tmp_path / "m.json")
    assert "vdn" in path.read_text()
    with pytest.raises(UserError, match="nothing was measured yet"):
        pipeline.report([parent / "just-begun"], tmp_path / "none.html")


def test_the_main_job_compares_every_learner_with_the_new_function(tmp_path, monkeypatch):
    overrides = [
        *SMALL,
        "compare.learners=[dqn,mappo]",
        "compare.mixers=[tfcaf,vdn]",
        f"runner.output_dir={tmp_path}",
        "learner.num_envs=8",
        "runner.num_env_steps=1600",
    ]
    first, *others = compose_learners(overrides)
    written = load_tfcaf(first.mixer, get_task("matrix/climbing"))
    monkeypatch.setattr(run_module, "design", lambda *given: SimpleNamespace(artifact=written))
    trained = []
    monkeypatch.setattr(run_module, "compare_mixers", lambda given, *rest: trained.append(given))
    pipeline.run(first, others)
    (directory,) = tmp_path.glob("matrix/climbing/run-*")
    pipeline.resume(directory)
    for trainings in trained:
        assert [one.config.label for one in trainings] == ["tfcaf", "vdn", "mappo"]
        assert [one.artifact for one in trainings] == [written, None, None]
    assert len(trained) == 2


def test_as_many_seeds_as_fit_are_counted_once_in_a_job_and_for_one_host(tmp_path, monkeypatch):
    """What fits may change with the host's memory, under a job that is resumed."""
    config = compose_config(
        [*SMALL, "runner.num_seeds=max", "compare.mixers=[vdn,iql]",
         f"runner.output_dir={tmp_path}"]
    )  # fmt: skip
    fitting = iter([3, 2, 9, 9])
    monkeypatch.setattr(session_module, "most_runs", lambda *given: next(fitting))
    trained = []

    def train(training, parent, name, session):
        training.make_store(parent, name).finish("interrupted")
        trained.append((name, training.config.runner.num_seeds))
        raise KeyboardInterrupt

    monkeypatch.setattr(compare_module, "train_mixer", train)
    with pytest.raises(KeyboardInterrupt):
        pipeline.compare(config)
    (directory,) = tmp_path.glob("matrix/climbing/compare-*")
    shutil.move(directory / "vdn", directory / "iql")  # begun, so that `vdn` can be made again
    with pytest.raises(KeyboardInterrupt):
        pipeline.resume(directory)
    assert trained == [("vdn", 2), ("vdn", 2)]
    training = Training(config, get_task("matrix/climbing"), None)
    with pytest.raises(UserError, match="2 hosts a number"):
        with_fitting_seeds([training], Hosts(0, 2))


def test_learners_that_are_named_must_be_given():
    config = compose_config([*SMALL, "compare.learners=[dqn,pqn]"])
    with pytest.raises(UserError, match="compose_learners"):
        pipeline.compare(config)


def test_training_from_python_runs_in_this_process_alone():
    with pytest.raises(UserError, match="runs in one process"):
        qllm_jax.train(
            compose_config(
                [*SMALL, "hosts.coordinator=localhost:1", "hosts.count=2", "hosts.index=0"]
            )
        )


def test_a_sweep_goes_on_with_the_function_that_it_began_with(tmp_path):
    spec = get_task("matrix/climbing")
    shipped = load_tfcaf(MixerConfig(), spec)
    named = tmp_path / "named"
    save_artifact(shipped, named)
    mixer = MixerConfig(artifact=str(named))
    kept = [kept_tfcaf(tmp_path / "tfcafs", one, spec) for one in (MixerConfig(), mixer)]
    shutil.rmtree(named)
    assert [one.sha256 for one in kept] == [shipped.sha256] * 2
    assert kept_tfcaf(tmp_path / "tfcafs", mixer, spec).sha256 == shipped.sha256
    assert len(list((tmp_path / "tfcafs").iterdir())) == 2


def test_a_checkout_that_is_not_installed_reports_too(monkeypatch):
    def not_found(name):
        if name == "qllm-jax":
            raise PackageNotFoundError(name)
        return "1.0"

    monkeypatch.setattr(reporting, "version", not_found)
    assert reporting.versions_here() == {
        "qllm-jax": "not installed",
        "jax": "1.0",
        "jaxmarl": "1.0",
    }


def test_train_is_what_the_command_line_runs(tmp_path):
    # QPLEX is the mixer that needs most from the job: greedy values and the number of actions.
    config = compose_config([*SMALL, "mixer=qplex", f"runner.output_dir={tmp_path}"])
    result = qllm_jax.train(config)
    assert result.metrics["return"].shape == (2, 5)
    assert result.path.is_relative_to(tmp_path / "matrix" / "climbing" / "qplex")


def test_a_stopped_training_resumes_to_the_same_metrics(tmp_path, monkeypatch):
    overrides = [*SMALL, "mixer=vdn", "checkpoint.interval_s=0"]
    whole = qllm_jax.train(compose_config([*overrides, f"runner.output_dir={tmp_path / 'a'}"]))
    calls = []
    with monkeypatch.context() as patched:
        patched.setattr(StopRequest, "__call__", lambda self: calls.append(1) or len(calls) > 1)
        part = qllm_jax.train(compose_config([*overrides, f"runner.output_dir={tmp_path / 'b'}"]))
    assert part.info["status"] == "interrupted"
    resumed = pipeline.resume(part.path).runs[0]
    assert resumed.info["status"] == "complete"
    for name, value in whole.metrics.items():
        np.testing.assert_array_equal(resumed.metrics[name], value, err_msg=name)
    with pytest.raises(UserError, match="nothing to resume"):
        pipeline.resume(part.path)


def test_a_stop_keeps_what_was_measured(tmp_path, monkeypatch):
    calls = []

    def stop_after_two(self) -> bool:
        calls.append(None)
        return len(calls) >= 2

    monkeypatch.setattr(StopRequest, "__call__", stop_after_two)
    config = compose_config([*SMALL, f"runner.output_dir={tmp_path}", "compare.mixers=[vdn,iql]"])
    outcome = pipeline.compare(config)
    assert outcome.exit_code == 130
    (only,) = outcome.runs
    assert only.info["status"] == "interrupted"
    assert only.metrics["return"].shape == (2, 2)
    assert "interrupted" in outcome.report.read_text()
    monkeypatch.undo()
    whole = pipeline.resume(outcome.directory)
    assert [result.info["status"] for result in whole.runs] == ["complete", "complete"]
    assert [result.metrics["return"].shape for result in whole.runs] == [(2, 5), (2, 5)]


def test_a_finished_job_is_resumed_to_itself(job):
    again = pipeline.resume(job.directory)
    assert [result.path for result in again.runs] == [result.path for result in job.runs]
    assert "r2c1" in again.report.read_text()


def test_learners_are_compared_each_with_the_mixers_it_takes(tmp_path):
    overrides = [
        *SMALL,
        "runner.num_env_steps=1200",
        "learner.num_envs=4",
        "learner.batch_size=2",
        "learner.updates_per_window=2",
        "compare.mixers=[vdn,tfcaf]",
        "compare.learners=[mappo,pqn]",
        f"runner.output_dir={tmp_path}",
    ]
    first, *others = compose_learners(overrides)
    assert (first.learner.optimizer, others[0].learner.optimizer) == ("adam", "radam")
    stopped = iter([False] * 6 + [True] * 50)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(StopRequest, "__call__", lambda self: next(stopped))
        outcome = pipeline.compare(first, others)
    assert outcome.interrupted
    outcome = pipeline.resume(outcome.directory)
    assert [result.name for result in outcome.runs] == ["mappo", "pqn+vdn", "pqn+tfcaf"]
    assert all(result.info["status"] == "complete" for result in outcome.runs)
    assert outcome.runs[0].info["num_mixer_params"] > 0  # its critic
    assert (outcome.directory / "pqn+tfcaf" / "tfcaf.json").exists()
    assert not (outcome.directory / "mappo" / "tfcaf.json").exists()


def test_a_learner_without_a_mixer_needs_no_function(tmp_path):
    config = compose_config(
        [*SMALL, "learner=coma", "runner.num_env_steps=1200", "learner.num_envs=4",
         "learner.batch_size=4",
         "learner.updates_per_window=1", "task=matrix/penalty", "mixer=tfcaf",
         "mixer.artifact=nowhere", f"runner.output_dir={tmp_path}"]
    )  # fmt: skip
    assert config.label == "coma"
    assert pipeline.train(config).info["mixer"] == "coma"


def test_a_design_that_goes_on_and_chooses_anew_trains_the_new_function(
    tmp_path, capsys, monkeypatch
):
    """Six calls end the design after round 1; what was trained of its choice is not kept as the
    training of what round 2 chooses."""
    monkeypatch.setattr(rounds, "select", lambda names, *_: (names[-1], "it is the newest."))
    config = compose_config(
        [*SMALL, "synthesis.evaluator=llm", "synthesis.max_calls=6", "compare.mixers=[tfcaf]",
         f"runner.output_dir={tmp_path}"]
    )  # fmt: skip
    early = pipeline.run(config)
    old = json.loads((early.runs[0].path / "tfcaf.json").read_text())
    assert old["provenance"]["round"] == 1
    assert main(["resume", str(early.directory), "synthesis.max_calls=60"]) == 0
    path = early.directory / "tfcaf"
    new = json.loads((path / "tfcaf.json").read_text())
    assert new["provenance"]["round"] == 2
    assert (
        new["sha256"] == json.loads((early.directory / "artifact/tfcaf.json").read_text())["sha256"]
    )
    assert new["sha256"] != old["sha256"]
    kept = early.directory / "replaced" / "tfcaf-1"
    assert json.loads((kept / "run.json").read_text())["status"] == "replaced"
    assert json.loads((kept / "tfcaf.json").read_text())["sha256"] == old["sha256"]
    assert find_runs(early.directory) == [path]
    assert RunResult.load(path).info["status"] == "complete"
    assert "max_calls: 60" in (early.directory / "job.yaml").read_text()
    # Other settings than caps are refused, and so are caps where there is no design.
    assert (
        main(["resume", str(early.directory), "synthesis.max_calls=9", "learner.lr=1", "seed=2"])
        == 2
    )
    assert "learner.lr, seed cannot be changed" in capsys.readouterr().err
    assert main(["resume", str(path), "synthesis.max_calls=9"]) == 2
    assert "has no design" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("kind", "words", "why"),
    [
        ("bench", [], "holds a bench, which cannot be resumed"),
        (
            "sweep",
            ["hosts.coordinator=localhost:1", "hosts.count=2", "hosts.index=0"],
            "`sweep` runs in one process",
        ),
    ],
)
def test_what_cannot_be_resumed_says_so(tmp_path, capsys, kind, words, why):
    (tmp_path / "job.yaml").write_text(f"kind: {kind}\nconfig: {{}}\n")
    assert main(["resume", str(tmp_path), *words]) == 2
    assert why in capsys.readouterr().err
