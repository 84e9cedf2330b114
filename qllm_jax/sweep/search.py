"""The trainings of a sweep: settings in groups of one program each, rung after rung."""

import dataclasses
import math
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from qllm_jax.config import Config
from qllm_jax.networks import Mixer
from qllm_jax.results.files import write_npz
from qllm_jax.schedule import make_schedule, shortened
from qllm_jax.sweep.outcome import SettingResult, SweepResult, ranked
from qllm_jax.sweep.space import Setting, traced_keys, with_setting
from qllm_jax.tasks.spec import TaskSpec
from qllm_jax.training import ChunkReport, join_runs, run_training, runs_for_seeds

MixerOf = Callable[[Config], tuple[Mixer, float]]  # a config's mixer and the factor on its value


@dataclasses.dataclass(frozen=True)
class Group:
    """Settings that share one compiled program.

    Attributes:
        rung: Of successive halving.
        number: Within the rung, from 0.
        count: Groups of the rung.
        config: With the static values that the settings share, for the rung's budget.
        settings: Of this group.
    """

    rung: int
    number: int
    count: int
    config: Config
    settings: tuple[Setting, ...]

    @property
    def num_runs(self) -> int:
        """Settings × seeds."""
        return len(self.settings) * self.config.runner.num_seeds


OnGroup = Callable[[Group], None]
OnChunk = Callable[[Group, ChunkReport], None]


def check_budgets(config: Config, spec: TaskSpec, settings: Sequence[Setting]) -> None:
    """Refuse a budget that a setting makes impossible, before anything is trained.

    Raises:
        UserError: Says what would fit.
    """
    num_rungs = _num_rungs(config)
    for rung in range(num_rungs):
        for group in _groups(config, spec, settings, rung, num_rungs):
            make_schedule(group.config.learner, group.config.runner, spec.env.episode_length)


def _num_rungs(config: Config) -> int:
    return config.sweep.rungs if config.sweep.method == "halving" else 1


def run_sweep(
    config: Config,
    spec: TaskSpec,
    settings: Sequence[Setting],
    mixer_of: MixerOf,
    directory: Path,
    *,
    on_group: OnGroup = lambda group: None,
    on_chunk: OnChunk = lambda group, report: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> SweepResult:
    """Train every setting with the same seeds.

    What is finished is kept in `directory` group by group, and a training that was stopped leaves
    a checkpoint there: called again, the sweep goes on where it was, to the same numbers.

    Successive halving: "Non-stochastic Best Arm Identification and Hyperparameter Optimization",
    https://arxiv.org/abs/1502.07943.

    Args:
        config: Task, seeds, budget and all that is not swept.
        spec: The task.
        settings: From `draw_settings`.
        mixer_of: A config's mixer and the factor on its value.
        directory: Where groups are kept; created where missing.
        on_group: Called before a group is trained.
        on_chunk: Called after each of its evaluations.
        should_stop: Polled between chunks.

    Raises:
        UserError: As `check_budgets`.
    """
    check_budgets(config, spec, settings)
    directory.mkdir(parents=True, exist_ok=True)
    num_rungs = _num_rungs(config)
    rows: dict[str, SettingResult] = {}
    going = list(settings)
    spent = _Spent()
    for rung in range(num_rungs):
        for group in _groups(config, spec, going, rung, num_rungs):
            found = _train_group(
                group, spec, mixer_of, directory, on_group, on_chunk, should_stop, spent
            )
            if found is None:
                return _result(rows, len(settings), spec, spent, interrupted=True)
            rows |= {repr(row.setting): row for row in found}
        best = ranked([rows[repr(setting)] for setting in going])
        going = [row.setting for row in best[: math.ceil(len(best) / config.sweep.eta)]]
    return _result(rows, len(settings), spec, spent, interrupted=False)


@dataclasses.dataclass
class _Spent:
    """What all groups together took."""

    programs: int = 0
    compile_s: float = 0.0
    run_s: float = 0.0
    env_steps: int = 0

    def add(self, compile_s: float, run_s: float, env_steps: int) -> None:
        self.programs += 1
        self.compile_s += compile_s
        self.run_s += run_s
        self.env_steps += env_steps


def _result(
    rows: Mapping[str, SettingResult], total: int, spec: TaskSpec, spent: _Spent, interrupted: bool
) -> SweepResult:
    return SweepResult(
        rows=tuple(ranked(list(rows.values()))),
        num_settings=total,
        num_programs=spent.programs,
        compile_s=spent.compile_s,
        run_s=spent.run_s,
        env_steps=spent.env_steps,
        interrupted=interrupted,
    )


def _groups(
    config: Config, spec: TaskSpec, settings: Sequence[Setting], rung: int, num_rungs: int
) -> list[Group]:
    """Settings by their static values, in the order in which these first appear."""
    by_static: dict[str, list[Setting]] = {}
    for setting in settings:
        static = {key: value for key, value in setting.items() if key not in traced_keys()}
        by_static.setdefault(repr(static), []).append(setting)
    groups = []
    for number, members in enumerate(by_static.values()):
        static = {k: v for k, v in members[0].items() if k not in traced_keys()}
        shared = with_setting(config, static)
        steps = shared.runner.num_env_steps
        share = config.sweep.eta ** (num_rungs - 1 - rung)
        if share > 1:
            evaluations = max(shared.runner.num_evaluations // share, 4)
            shared = shortened(shared, steps / share, evaluations, spec.env.episode_length)
        groups.append(Group(rung, number, len(by_static), shared, tuple(members)))
    return groups


def _train_group(
    group: Group,
    spec: TaskSpec,
    mixer_of: MixerOf,
    directory: Path,
    on_group: OnGroup,
    on_chunk: OnChunk,
    should_stop: Callable[[], bool],
    spent: _Spent,
) -> list[SettingResult] | None:
    """Train a group, or read what an earlier process left of it; None where it was stopped."""
    place = directory / f"rung-{group.rung + 1}-group-{group.number + 1}"
    file = place.with_suffix(".npz")
    if file.exists():
        with np.load(file, allow_pickle=False) as saved:
            arrays = dict(saved)
    else:
        on_group(group)
        configs = [
            with_setting(group.config, {k: v for k, v in setting.items() if k in traced_keys()})
            for setting in group.settings
        ]
        mixers = {one.mixer: mixer_of(one) for one in configs}  # they differ in the scale only
        mixer = mixers[configs[0].mixer][0]
        runs = join_runs([runs_for_seeds(one, mixers[one.mixer][1]) for one in configs])
        output = run_training(
            spec,
            mixer,
            group.config,
            runs=runs,
            on_chunk=lambda report: on_chunk(group, report),
            should_stop=should_stop,
            checkpoint_dir=place if group.config.checkpoint.enabled else None,
            resume=group.config.checkpoint.enabled,
        )
        if output.interrupted:
            return None
        arrays = {
            "return": output.metrics["return"],
            "alive": output.metrics["alive"][:, -1],
            "env_steps": output.metrics["env_steps"],
            "seconds": np.asarray([output.compile_s, output.run_s]),
        }
        write_npz(file, arrays)
        shutil.rmtree(place, ignore_errors=True)  # the checkpoint
    compile_s, run_s = arrays["seconds"].tolist()
    spent.add(compile_s, run_s, int(arrays["env_steps"][-1]) * group.num_runs)
    seeds = group.config.runner.num_seeds
    return [
        SettingResult(
            setting=setting,
            returns=arrays["return"][index * seeds : (index + 1) * seeds],
            env_steps=arrays["env_steps"],
            alive=arrays["alive"][index * seeds : (index + 1) * seeds].astype(bool),
            rung=group.rung,
        )
        for index, setting in enumerate(group.settings)
    ]
