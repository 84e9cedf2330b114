"""The trainings of a sweep: settings in groups of one program each, rung after rung."""

import dataclasses
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from qllm_jax.config import Config
from qllm_jax.errors import require
from qllm_jax.halving import num_survivors, rung_ends
from qllm_jax.networks import Mixer
from qllm_jax.results.files import write_npz
from qllm_jax.schedule import make_schedule
from qllm_jax.sweep.outcome import SettingResult, SweepResult, ranked
from qllm_jax.sweep.space import Setting, traced_keys, with_setting
from qllm_jax.tasks.spec import TaskSpec
from qllm_jax.training import (
    ChunkReport,
    Paused,
    TrainingOutput,
    join_paused,
    join_runs,
    run_training,
    runs_for_seeds,
)

MixerOf = Callable[[Config], tuple[Mixer, float]]  # a config's mixer and the factor on its value


@dataclasses.dataclass(frozen=True)
class Group:
    """Settings that share one compiled program.

    Attributes:
        rung: Of successive halving.
        number: Within the rung, from 0.
        count: Groups of the rung.
        config: With the static values that the settings share.
        num_evaluations: Of the config's, how many there are at the end of the rung.
        settings: Of this group.
    """

    rung: int
    number: int
    count: int
    config: Config
    num_evaluations: int
    settings: tuple[Setting, ...]

    @property
    def env_steps(self) -> int:
        """Environment steps per seed at the end of the rung."""
        runner = self.config.runner
        return runner.num_env_steps // runner.num_evaluations * self.num_evaluations

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
    share = config.sweep.eta ** (num_rungs - 1)
    for group in _groups(config, settings, 0, num_rungs):
        runner = group.config.runner
        lower = runner.num_evaluations // share * share
        require(
            runner.num_evaluations % share == 0,
            f"the first of sweep.rungs={num_rungs} ends after 1/{share} of the evaluations, but "
            f"runner.num_evaluations is {runner.num_evaluations}. "
            f"{f'{lower} or ' if lower else ''}{lower + share} would fit; or lower sweep.rungs.",
        )
        schedule = make_schedule(group.config.learner, runner, spec.env.episode_length)
        require(
            schedule.first_update < group.num_evaluations * schedule.iterations_per_chunk,
            f"the first of sweep.rungs={num_rungs} ends after {group.env_steps:,} environment "
            f"steps, but learning starts after {group.config.learner.learning_starts:,}: there "
            "would be nothing to choose by. Lower learner.learning_starts or sweep.rungs.",
        )


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

    Successive halving trains all settings to the end of the first rung, drops all but the best,
    and goes on with these where they stopped; what reaches the end is what it would have been
    alone (`qllm_jax.halving`).

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
    going, paused = list(settings), dict[str, Paused]()
    spent = _Spent()
    trainer = _Trainer(spec, mixer_of, directory, on_group, on_chunk, should_stop)
    for rung in range(num_rungs):
        count = num_survivors(len(going), config.sweep.eta)
        best: list[SettingResult] = []
        waiting: dict[str, Paused] = {}
        for group in _groups(config, going, rung, num_rungs):
            start = _start(group, paused)
            trained = _reach_rung(group, trainer, spent, start)
            if trained is None:
                return _result(rows, len(settings), spent, interrupted=True)
            found, states = trained
            rows |= {repr(row.setting): row for row in found}
            best = ranked([*best, *found])[:count]
            waiting |= states
            kept = {repr(row.setting) for row in best}
            waiting = {key: state for key, state in waiting.items() if key in kept}
        going, paused = [row.setting for row in best], waiting
    return _result(rows, len(settings), spent, interrupted=False)


def _start(group: Group, paused: dict[str, Paused]) -> Paused | None:
    """The group's runs where the rung before left them, taken out of `paused`.

    None where an earlier process trained that rung: a checkpoint has them or, since no run depends
    on those beside it, training them from the beginning ends in the same numbers.
    """
    parts = [paused.pop(repr(setting), None) for setting in group.settings]
    known = [part for part in parts if part is not None]
    return join_paused(known) if len(known) == len(parts) else None


@dataclasses.dataclass(frozen=True)
class _Trainer:
    """What all groups of a sweep are trained with; the fields are `run_sweep`'s arguments."""

    spec: TaskSpec
    mixer_of: MixerOf
    directory: Path
    on_group: OnGroup
    on_chunk: OnChunk
    should_stop: Callable[[], bool]

    def place(self, group: Group) -> Path:
        """A group's checkpoint while it is trained; with `.npz`, what it reached."""
        return self.directory / f"rung-{group.rung + 1}-group-{group.number + 1}"

    def train(self, group: Group, start: Paused | None) -> TrainingOutput:
        """Train all settings of a group side by side, to the end of its rung."""
        self.on_group(group)
        configs = [with_setting(group.config, _traced(setting)) for setting in group.settings]
        by_mixer = {one.mixer: one for one in configs}  # they differ in the scale only
        mixers = {mixer: self.mixer_of(one) for mixer, one in by_mixer.items()}
        keeps = group.config.checkpoint.enabled
        return run_training(
            self.spec,
            mixers[configs[0].mixer][0],
            group.config,
            runs=join_runs([runs_for_seeds(one, mixers[one.mixer][1]) for one in configs]),
            on_chunk=lambda report: self.on_chunk(group, report),
            should_stop=self.should_stop,
            checkpoint_dir=self.place(group) if keeps else None,
            resume=keeps,
            start=start,
            pause_after=group.num_evaluations + 1,
        )


@dataclasses.dataclass
class _Spent:
    """What all groups together took."""

    programs: int = 0
    compile_s: float = 0.0
    run_s: float = 0.0
    timed_env_steps: float = 0.0

    def add(self, compile_s: float, run_s: float, timed_env_steps: float) -> None:
        self.programs += 1
        self.compile_s += compile_s
        self.run_s += run_s
        self.timed_env_steps += timed_env_steps


def _result(
    rows: Mapping[str, SettingResult], total: int, spent: _Spent, interrupted: bool
) -> SweepResult:
    return SweepResult(
        rows=tuple(ranked(list(rows.values()))),
        num_settings=total,
        num_programs=spent.programs,
        compile_s=spent.compile_s,
        run_s=spent.run_s,
        timed_env_steps=round(spent.timed_env_steps),
        interrupted=interrupted,
    )


def _groups(config: Config, settings: Sequence[Setting], rung: int, num_rungs: int) -> list[Group]:
    """Settings by their static values, in the order in which these first appear."""
    by_static: dict[str, list[Setting]] = {}
    for setting in settings:
        by_static.setdefault(repr(_static(setting)), []).append(setting)
    groups = []
    for number, members in enumerate(by_static.values()):
        shared = with_setting(config, _static(members[0]))
        ends = rung_ends(shared.runner.num_evaluations, num_rungs, config.sweep.eta)
        groups.append(Group(rung, number, len(by_static), shared, ends[rung], tuple(members)))
    return groups


def _static(setting: Setting) -> Setting:
    return {key: value for key, value in setting.items() if key not in traced_keys()}


def _traced(setting: Setting) -> Setting:
    return {key: value for key, value in setting.items() if key in traced_keys()}


def _timed_env_steps(output: TrainingOutput) -> float:
    """Environment steps taken in `run_s`: without those of a process that was killed."""
    return float(np.nan_to_num(output.env_steps_per_second * output.run_s))


def _reach_rung(
    group: Group, trainer: _Trainer, spent: _Spent, start: Paused | None
) -> tuple[list[SettingResult], dict[str, Paused]] | None:
    """Train a group to the end of its rung, or read what an earlier process left of it.

    Returns:
        What each setting reached, and its runs where they are to go on and are at hand; None
        where it was stopped.
    """
    file = trainer.place(group).with_suffix(".npz")
    paused = None
    if file.exists():
        with np.load(file, allow_pickle=False) as saved:
            arrays = dict(saved)
    else:
        output = trainer.train(group, start)
        if output.interrupted:
            return None
        paused = output.paused
        arrays = {
            "return": output.metrics["return"],
            "alive": output.metrics["alive"][:, -1],
            "env_steps": output.metrics["env_steps"],
            "spent": np.asarray([output.compile_s, output.run_s, _timed_env_steps(output)]),
        }
        write_npz(file, arrays)
        shutil.rmtree(trainer.place(group), ignore_errors=True)  # the checkpoint
    spent.add(*arrays["spent"].tolist())
    seeds = group.config.runner.num_seeds
    rows, states = [], {}
    for index, setting in enumerate(group.settings):
        of = slice(index * seeds, (index + 1) * seeds)
        rows.append(
            SettingResult(
                setting=setting,
                returns=arrays["return"][of],
                env_steps=arrays["env_steps"],
                alive=arrays["alive"][of].astype(bool),
                rung=group.rung,
            )
        )
        if paused is not None:
            states[repr(setting)] = paused.select(np.arange(of.start, of.stop))
    return rows, states
