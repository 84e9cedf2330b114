"""What TensorBoard and W&B are handed, and marl-eval's format."""

import json
import sys
import types

import numpy as np
import pytest

from qllm_jax import cli
from qllm_jax.config import LoggingConfig
from qllm_jax.errors import UserError
from qllm_jax.results import RunStore, marl_eval_data, open_loggers
from qllm_jax.results.loggers import scalars_of

METRICS = {
    "return": np.array([1.0, 3.0, 90.0]),
    "loss": np.array([0.5, np.nan, 7.0]),
    "credit_mean": np.array([[1.0, 2.0], [3.0, 4.0], [0.0, 0.0]]),
    "diverged": np.array([False, False, True]),
}


def test_means_leave_out_what_diverged_and_what_is_not_finite():
    assert scalars_of(METRICS) == {
        "return/mean": 2.0,
        "return/iqm": 2.0,
        "loss/mean": 0.5,
        "credit_mean_0/mean": 2.0,
        "credit_mean_1/mean": 3.0,
        "diverged": 1.0,
    }


def test_seed_by_seed_under_their_own_ids():
    scalars = scalars_of(METRICS, seeds=[5, 6, 7])
    assert scalars["return/seed_5"] == 1.0
    assert scalars["return/seed_7"] == 90.0
    assert scalars["credit_mean_1/seed_6"] == 4.0
    assert "loss/seed_6" not in scalars  # it is no number


@pytest.fixture
def packages(monkeypatch):
    """Both packages, as modules that note what they are told."""
    told = []

    class Writer:
        def __init__(self, directory):
            told.append(("tensorboard", directory))

        def add_scalar(self, tag, value, step):
            told.append((tag, value, step))

        def flush(self):
            pass

        def close(self):
            told.append("closed")

    run = types.SimpleNamespace(
        log=lambda scalars: told.append(scalars), finish=lambda: told.append("finished")
    )

    def init(**given):
        told.append(given)
        return run

    monkeypatch.setitem(sys.modules, "tensorboardX", types.SimpleNamespace(SummaryWriter=Writer))
    monkeypatch.setitem(sys.modules, "wandb", types.SimpleNamespace(init=init))
    return told


def test_both_are_told_every_evaluation(packages, tmp_path):
    config = LoggingConfig(tensorboard=True, wandb="offline", wandb_project="p")
    loggers = open_loggers(config, tmp_path / "run", {"lr": 1}, [0, 1, 2])
    loggers.log(400, METRICS)
    loggers.close()
    assert packages[0] == ("tensorboard", str(tmp_path / "run" / "tensorboard"))
    assert (packages[1]["mode"], packages[1]["project"]) == ("offline", "p")
    assert packages[1]["config"] == {"lr": 1}
    assert ("return/mean", 2.0, 400) in packages
    (logged,) = [item for item in packages[2:] if isinstance(item, dict)]
    assert (logged["env_steps"], logged["return/iqm"]) == (400, 2.0)
    assert packages[-2:] == ["closed", "finished"]


def test_a_missing_package_is_named_with_its_extra(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "tensorboardX", None)  # as if it were not installed
    with pytest.raises(UserError, match=r"pip install 'qllm-jax\[tensorboard\]'"):
        open_loggers(LoggingConfig(tensorboard=True), tmp_path, {}, [0])


def test_nothing_is_asked_for_by_default(tmp_path):
    loggers = open_loggers(LoggingConfig(), tmp_path, {}, [0, 1, 2])
    loggers.log(0, METRICS)
    loggers.close()
    assert not list(tmp_path.iterdir())


@pytest.fixture
def run(tmp_path):
    info = {"task": "smax/3m", "mixer": "qmix"}
    with RunStore.create(tmp_path, "run", {}, seeds=[3, 4], info=info) as store:
        for step in range(3):
            scores = np.array([step, 10.0 + step])
            store.append(100 * step, {"return": scores, "win_rate": scores / 20, "loss": scores})
    return store.result()


def test_marl_eval_reads_every_seed_and_evaluation(run):
    data = marl_eval_data([run, run])
    algorithms = data["smax"]["3m"]
    assert sorted(algorithms) == ["qmix", "qmix_2"]
    seeds = algorithms["qmix"]
    assert sorted(seeds) == ["seed_3", "seed_4"]
    assert seeds["seed_4"]["step_1"] == {"step_count": 100, "return": [11.0], "win_rate": [0.55]}
    # the mean of the last two evaluations; the first is of the untrained policy
    absolute = seeds["seed_3"]["absolute_metrics"]
    assert absolute == {"return": [1.5], "win_rate": [pytest.approx(0.075)]}


def test_the_command_line_writes_it(run, tmp_path, capsys):
    out = tmp_path / "marl.json"
    assert cli.main(["report", str(run.path), "--marl-eval", str(out)]) == 0
    assert json.loads(out.read_text()) == marl_eval_data([run])
