"""Mixers side by side: the numbers that the terminal, the report and Markdown all show."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from qllm_jax.results.report_data import Measure, RunSummary
from qllm_jax.results.statistics import (
    FINAL_EVALUATIONS,
    Interval,
    aggregate,
    area_under_curve,
    bootstrap_interval,
    difference_interval,
    final_scores,
    finite_rows,
    probability_of_improvement,
    steps_to_threshold,
)
from qllm_jax.results.table import (
    Table,
    decimals_for,
    format_count,
    format_ends,
    format_interval,
    format_number,
    format_rate,
    format_seconds,
    format_significant,
    format_steps,
    markdown,
)

THRESHOLD_FRACTION = 0.9
UNTRAINED = "untrained"


@dataclasses.dataclass(frozen=True)
class ComparisonRow:
    """What is reported about one run.

    Attributes:
        name: Of the run.
        status: "complete", "running", "interrupted" or "" where unknown.
        final: IQM over seeds of the final performance, with its interval.
        untrained: The same of the evaluation before training; None where there was none.
        outcome: As `final`, of the task's second measure; None where the run has none.
        untrained_outcome: As `untrained`, of that measure.
        num_seeds: Seeds behind the numbers.
        num_diverged: Seeds left out because their score stopped being finite.
        num_env_steps: Environment steps per seed at the last evaluation.
        difference: IQM minus the first run's, at equal environment steps; None for the first.
        improvement: Probability that a seed of this run beats one of the first; None for the
            first.
        compared_at: Environment steps of that comparison; None for the first.
        steps_to_threshold: Median over seeds of the steps to the common threshold; inf where
            fewer than half reach it; None without a threshold.
        num_reached: Seeds that reach it.
        mean_over_training: IQM over seeds of the area under the curve per step.
        num_mixer_params: Learned parameters in the mixer; None where unknown.
        compile_s: Seconds of compilation.
        run_s: Seconds of running, without compilation.
        env_steps_per_s: Over all seeds, while running.
    """

    name: str
    status: str
    final: Interval
    untrained: Interval | None
    outcome: Interval | None
    untrained_outcome: Interval | None
    num_seeds: int
    num_diverged: int
    num_env_steps: int
    difference: Interval | None
    improvement: Interval | None
    compared_at: int | None
    steps_to_threshold: float | None
    num_reached: int
    mean_over_training: float
    num_mixer_params: int | None
    compile_s: float | None
    run_s: float | None
    env_steps_per_s: float | None

    @property
    def trained(self) -> bool:
        """Whether any evaluation after training began is in `final`."""
        return self.num_env_steps > 0


def has_scores(run: RunSummary) -> bool:
    """Whether `run` has at least one evaluation of at least one seed."""
    scores = np.asarray(run.metrics.get("return", np.zeros((0, 0))))
    return scores.ndim == 2 and scores.size > 0 and "env_steps" in run.metrics


def curve(run: RunSummary) -> tuple[np.ndarray, np.ndarray]:
    """`(return [S, E] of the seeds that stayed finite, env_steps [E])`."""
    steps = np.asarray(run.metrics["env_steps"])
    scores = np.asarray(run.metrics["return"], dtype=np.float64)
    diverged = np.asarray(run.metrics.get("diverged", np.zeros(len(scores), bool)))
    if diverged.ndim == 2 and diverged.shape[1]:
        diverged = diverged[:, -1]
    return finite_rows(scores[~diverged.astype(bool)]), steps


def by_measure(run: RunSummary, measure: Measure) -> RunSummary:
    """The run with another measure in the place of its return; without scores where it has none."""
    metrics = {key: value for key, value in run.metrics.items() if key != "return"}
    if measure.metric in metrics:
        metrics["return"] = metrics[measure.metric]
    return dataclasses.replace(run, metrics=metrics)


def untrained_interval(run: RunSummary) -> Interval | None:
    """IQM of the evaluation at 0 environment steps; None where the first came later."""
    scores, steps = curve(run)
    if len(steps) == 0 or steps[0] != 0 or len(scores) == 0:
        return None
    return bootstrap_interval(scores[:, 0])


def reference_threshold(runs: Sequence[RunSummary]) -> float | None:
    """The score at 90 % of the way from the untrained level to the best final IQM of `runs`.

    None where nothing ends above the untrained level.
    """
    finals, starts = [], []
    for run in filter(has_scores, runs):
        scores, steps = curve(run)
        if len(scores) and steps[0] == 0 and len(steps) > 1:
            finals.append(float(aggregate(final_scores(scores))))
            starts.append(float(aggregate(scores[:, 0])))
    if not finals or max(finals) <= float(np.mean(starts)):
        return None
    start = float(np.mean(starts))
    return start + THRESHOLD_FRACTION * (max(finals) - start)


def comparison_rows(
    runs: Sequence[RunSummary],
    threshold: float | None = None,
    outcome: Measure | None = None,
) -> tuple[ComparisonRow, ...]:
    """Compare `runs`, each against the first that has been trained.

    Args:
        runs: In the order in which they are shown; those without an evaluation are left out.
        threshold: Score of the sample-efficiency column; None takes `reference_threshold`.
        outcome: A second measure, reported beside the score.
    """
    runs = [run for run in runs if has_scores(run)]
    threshold = reference_threshold(runs) if threshold is None else threshold
    first = next((run for run in runs if np.asarray(run.metrics["env_steps"])[-1] > 0), None)
    return tuple(_row(run, None if run is first else first, threshold, outcome) for run in runs)


def _row(
    run: RunSummary, first: RunSummary | None, threshold: float | None, outcome: Measure | None
) -> ComparisonRow:
    scores, steps = curve(run)
    num_all = len(np.asarray(run.metrics["return"]))
    difference, improvement, compared_at = _against(run, first)
    reached = np.zeros(0) if threshold is None else steps_to_threshold(scores, steps, threshold)
    second = None if outcome is None else by_measure(run, outcome)
    if second is not None and not has_scores(second):
        second = None
    info = run.info
    return ComparisonRow(
        name=run.name,
        status=str(info.get("status", "")),
        final=_final_interval(run),
        untrained=untrained_interval(run),
        outcome=None if second is None else _final_interval(second),
        untrained_outcome=None if second is None else untrained_interval(second),
        num_seeds=len(scores),
        num_diverged=num_all - len(scores),
        num_env_steps=int(steps[-1]),
        difference=difference,
        improvement=improvement,
        compared_at=compared_at,
        steps_to_threshold=_censored_median(reached) if len(reached) else None,
        num_reached=int(np.isfinite(reached).sum()),
        mean_over_training=float(aggregate(area_under_curve(scores, steps))),
        num_mixer_params=info.get("num_mixer_params"),
        compile_s=info.get("compile_s"),
        run_s=info.get("run_s"),
        env_steps_per_s=info.get("env_steps_per_s"),
    )


def _final_interval(run: RunSummary) -> Interval:
    scores, _ = curve(run)
    if len(scores) == 0:
        return Interval(math.nan, math.nan, math.nan)
    return bootstrap_interval(final_scores(scores))


def _censored_median(steps: np.ndarray) -> float:
    """The median of `steps` [S] where inf stands for "not reached" (lower of two middles)."""
    return float(np.sort(steps)[(len(steps) - 1) // 2])


def _against(
    run: RunSummary, first: RunSummary | None
) -> tuple[Interval | None, Interval | None, int | None]:
    """Difference and probability of improvement at the last step that both were evaluated at."""
    if first is None:
        return None, None, None
    (scores, steps), (first_scores, first_steps) = curve(run), curve(first)
    common = np.intersect1d(steps, first_steps)
    if len(common) == 0 or common[-1] == 0 or min(len(scores), len(first_scores)) == 0:
        return None, None, None
    at = common[-1]
    ours, theirs = (
        final_scores(scores[:, steps <= at]),
        final_scores(first_scores[:, first_steps <= at]),
    )
    return (
        difference_interval(ours, theirs),
        probability_of_improvement(ours, theirs),
        int(at),
    )


def untrained_row(rows: Sequence[ComparisonRow]) -> ComparisonRow | None:
    """The row that says the untrained level: the first (equal configurations start alike)."""
    return next((row for row in rows if row.untrained is not None), None)


def comparison_table(
    rows: Sequence[ComparisonRow],
    *,
    title: str = "",
    score: str = "return",
    landmarks: Mapping[str, float] | None = None,
    outcome: Measure | None = None,
    threshold: float | None = None,
) -> Table:
    """The final table, as the terminal, the report and the README show it.

    Args:
        rows: From `comparison_rows`.
        title: Shown above.
        score: What the numbers are.
        landmarks: Known scores, one row each at the end.
        outcome: The second measure that the rows hold, shown in columns of its own.
        threshold: What the sample-efficiency column was computed for.
    """
    first = next((row.name for row in rows if row.trained), "first")
    columns = (
        "mixer",
        f"IQM {score}",
        "95 % interval",
        *([] if outcome is None else [f"IQM {outcome.name}", f"95 % interval, {outcome.name}"]),
        "seeds",
        f"difference to {first}",
        f"P(better than {first})",
        "steps to threshold",
        "mixer parameters",
        "compile",
        "run",
        "env-steps/s",
    )
    second = outcome is not None
    body = [_cells(row, second) for row in rows]
    known, known_outcomes = {**(landmarks or {})}, {**(outcome.landmarks if outcome else {})}
    start = untrained_row(rows)
    if start is not None and any(row.trained for row in rows):
        known.pop(UNTRAINED, None)  # these runs' own says more than the record
        known_outcomes.pop(UNTRAINED, None)
        cells = _measured(start.untrained)
        cells += _measured(start.untrained_outcome) if second else ()
        body.append(_filled(UNTRAINED, *cells, str(start.num_seeds), to=len(columns)))
    for name in dict.fromkeys((*known, *known_outcomes)):
        cells = _level(known.get(name))
        cells += _level(known_outcomes.get(name)) if second else ()
        body.append(_filled(name, *cells, to=len(columns)))
    return Table(
        title=title,
        columns=columns,
        rows=tuple(body),
        numeric=(False, *[True] * (len(columns) - 1)),
        notes=tuple(table_notes(rows, score, threshold)),
        weak=tuple(range(len(rows), len(body))),
    )


def _filled(*cells: str, to: int) -> tuple[str, ...]:
    return (*cells, *[""] * (to - len(cells)))


def _measured(interval: Interval | None) -> tuple[str, ...]:
    """An IQM and its ends; empty cells where there is none."""
    if interval is None:
        return "", ""
    return format_number(interval.point, decimals_for(interval)), format_ends(interval)


def _level(value: float | None) -> tuple[str, ...]:
    """A known score, which has no interval."""
    return ("" if value is None else format_significant(value)), ""


def _cells(row: ComparisonRow, second: bool) -> tuple[str, ...]:
    name = row.name if row.status in ("", "complete") else f"{row.name} ({row.status})"
    if not row.trained:
        name = f"{row.name} (not trained)"
    seeds = str(row.num_seeds)
    if row.num_diverged:
        seeds = f"{row.num_seeds} of {row.num_seeds + row.num_diverged}"
    if row.steps_to_threshold is None:
        steps = "–"
    else:
        shown = "–" if math.isinf(row.steps_to_threshold) else format_steps(row.steps_to_threshold)
        steps = f"{shown} ({row.num_reached}/{row.num_seeds})"
    return (
        name,
        *_measured(row.final),
        *(_measured(row.outcome) if second else ()),
        seeds,
        "" if row.difference is None else format_interval(row.difference, sign=True),
        "" if row.improvement is None else format_interval(row.improvement, decimals=2),
        steps,
        format_count(row.num_mixer_params),
        format_seconds(row.compile_s),
        format_seconds(row.run_s),
        format_rate(row.env_steps_per_s),
    )


def table_notes(rows: Sequence[ComparisonRow], score: str, threshold: float | None) -> list[str]:
    """What the table's numbers are, and what to be careful with."""
    notes = [
        f"Final {score}: mean of each seed's last {FINAL_EVALUATIONS} greedy evaluations, then "
        "the interquartile mean over seeds; 95 % bootstrap percentile intervals."
    ]
    if threshold is not None:
        notes.append(
            f"Threshold: {format_number(threshold, 1)}, "
            f"{100 * THRESHOLD_FRACTION:.0f} % of the way from the untrained level to the best "
            "final IQM; median over seeds of the first evaluation there, in brackets how many "
            "seeds get there."
        )
    fewest = min((row.num_seeds for row in rows), default=0)
    if 0 < fewest < 10:
        notes.append(
            f"With {fewest} seed{'s' if fewest > 1 else ''} a percentile interval is "
            + ("not defined." if fewest == 1 else "too narrow; 10 or more are advised.")
        )
    diverged = [row for row in rows if row.num_diverged]
    if diverged:
        listed = ", ".join(f"{row.name} {row.num_diverged}" for row in diverged)
        notes.append(f"Diverged seeds are left out of all numbers: {listed}.")
    last = max((row.num_env_steps for row in rows), default=0)
    short = [row for row in rows if row.compared_at is not None and row.compared_at < last]
    if short:
        listed = ", ".join(f"{row.name} at {row.compared_at:,}" for row in short)
        notes.append(f"Compared at fewer environment steps than the longest run: {listed}.")
    return notes


def to_markdown(rows: Sequence[ComparisonRow], **options: Any) -> str:
    """`comparison_table(rows, **options)` in Markdown, for a README or a pipe."""
    return markdown(comparison_table(rows, **options))
