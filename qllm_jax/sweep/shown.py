"""A sweep as a table, a figure, a CSV and a record."""

import csv
import io
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

from qllm_jax.config import Config
from qllm_jax.results import Table, format_rate, format_seconds
from qllm_jax.results.style import FONT_SIZE, INK, MUTED, color_of, new_figure, plain_axes
from qllm_jax.results.table import (
    decimals_for,
    format_ends,
    format_interval,
    format_number,
    format_steps,
)
from qllm_jax.sweep.outcome import SettingResult, SweepResult
from qllm_jax.sweep.space import describe_setting, format_value, short_key

_SHOWN_ROWS = 20
_PANELS_PER_ROW = 3
_LOG_SPAN = 10.0
_FEW_VALUES = 6


def sweep_table(result: SweepResult, title: str, score: str, config: Config) -> Table:
    """The best settings first, each with its interval and its distance to the best.

    Args:
        result: At least one setting.
        title: Shown above.
        score: What the numbers are.
        config: Of the job.
    """
    keys = list(result.rows[0].setting)
    body = [_cells(result, index, keys) for index in range(min(len(result.rows), _SHOWN_ROWS))]
    columns = (
        "rank",
        *(short_key(key) for key in keys),
        f"IQM {score}",
        "95 % interval",
        "difference to best",
        "seeds",
        "env steps",
    )
    return Table(
        title=title,
        columns=columns,
        rows=tuple(body),
        numeric=(True,) * len(columns),
        notes=tuple(_notes(result, config)),
        strong=(0,),
    )


def _cells(result: SweepResult, index: int, keys: Sequence[str]) -> tuple[str, ...]:
    row = result.rows[index]
    score, difference = row.score, result.difference_to_best(index)
    seeds = len(row.alive)
    return (
        str(index + 1),
        *(format_value(row.setting[key]) for key in keys),
        format_number(score.point, decimals_for(score)),
        format_ends(score),
        "" if difference is None else format_interval(difference, sign=True),
        f"{seeds - row.num_diverged} of {seeds}" if row.num_diverged else str(seeds),
        format_steps(float(row.env_steps[-1])),
    )


def _notes(result: SweepResult, config: Config) -> list[str]:
    seconds = result.compile_s + result.run_s
    notes = [
        f"{len(result.rows)} of {result.num_settings} settings × {config.runner.num_seeds} seeds "
        f"in {result.num_programs} compiled program{'s' if result.num_programs != 1 else ''}: "
        f"{format_seconds(seconds)}, of it {format_seconds(result.compile_s)} compiling; "
        f"{format_rate(result.env_steps_per_s)} env-steps/s.",
        "Score: mean of each seed's last greedy evaluations, then the interquartile mean over "
        "seeds, with 95 % bootstrap intervals. Every setting has the same seeds.",
    ]
    if len(result.rows) > _SHOWN_ROWS:
        notes.append(f"The best {_SHOWN_ROWS} are shown; sweep.csv has all.")
    if len(result.rows) > 1:
        notes.append(
            "The best of many is the luckiest too: score it again with fresh seeds "
            f"(runner.first_seed={config.runner.first_seed + config.runner.num_seeds})."
        )
    return notes


def sweep_csv(result: SweepResult) -> str:
    """One line per setting, the best first."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    keys = list(result.rows[0].setting) if result.rows else []
    writer.writerow(["rank", *keys, "iqm", "low", "high", "seeds", "diverged", "env_steps", "rung"])
    for index, row in enumerate(result.rows):
        score = row.score
        writer.writerow(
            [
                *(index + 1, *(row.setting[key] for key in keys)),
                *(score.point, score.low, score.high),
                *(len(row.alive), row.num_diverged, int(row.env_steps[-1]), row.rung + 1),
            ]
        )
    return buffer.getvalue()


def sweep_record(result: SweepResult, command: str, config: dict[str, Any]) -> dict[str, Any]:
    """Everything, as JSON holds it."""
    return {
        "command": command,
        "config": config,
        "num_settings": result.num_settings,
        "num_programs": result.num_programs,
        "compile_s": result.compile_s,
        "run_s": result.run_s,
        "timed_env_steps": result.timed_env_steps,
        "env_steps": result.env_steps,
        "interrupted": result.interrupted,
        "rows": [
            {
                "setting": dict(row.setting),
                "rung": row.rung,
                "env_steps": row.env_steps.tolist(),
                "return": row.returns.tolist(),
                "alive": row.alive.tolist(),
            }
            for row in result.rows
        ],
    }


def sweep_figure(result: SweepResult, score: str, width: float = 8.6) -> Figure:
    """One panel per swept key: every setting's score over the key's value, with its interval.

    Settings that went through fewer rungs are pale; the best is marked.
    """
    keys = list(result.rows[0].setting)
    columns = min(len(keys), _PANELS_PER_ROW)
    lines = math.ceil(len(keys) / columns)
    figure = new_figure(width, 2.9 * lines + 0.3)
    top = max(row.rung for row in result.rows)
    for index, key in enumerate(keys):
        axes = figure.add_subplot(lines, columns, index + 1)
        plain_axes(axes, short_key(key), f"{score}, IQM" if index % columns == 0 else "")
        _draw_key(axes, result.rows, key, top)
    best = result.rows[0]
    figure.suptitle(
        f"best: {describe_setting(best.setting)}", x=0.02, ha="left", fontsize=FONT_SIZE, color=INK
    )
    figure.tight_layout(rect=(0, 0, 1, 0.97))
    return figure


def _draw_key(axes: Axes, rows: Sequence[SettingResult], key: str, top: int) -> None:
    values = [row.setting[key] for row in rows]
    places = _places(axes, values)
    for index in reversed(range(len(rows))):
        row, interval = rows[index], rows[index].score
        if not np.isfinite(interval.point):
            continue
        is_best = index == 0
        color = color_of(1) if is_best else color_of(0) if row.rung == top else MUTED
        place, ends = places[index], [interval.low, interval.high]
        if np.isfinite(interval.low):
            alpha = 1.0 if is_best else 0.45
            axes.plot([place, place], ends, color=color, linewidth=1.1, alpha=alpha)
        alpha = 1.0 if row.rung == top else 0.5
        axes.plot([place], [interval.point], color=color, marker="o", markersize=4.5, alpha=alpha)


def _places(axes: Axes, values: Sequence[Any]) -> list[float]:
    """Where settings stand: on a number line, a logarithmic one, or side by side at one tick for
    each of few values."""
    numbers = all(isinstance(v, int | float) and not isinstance(v, bool) for v in values)
    distinct = sorted(set(values)) if numbers else list(dict.fromkeys(values))
    if not numbers or len(distinct) <= _FEW_VALUES:
        axes.set_xticks(range(len(distinct)), [format_value(value) for value in distinct])
        axes.set_xlim(-0.5, len(distinct) - 0.5)
        return [distinct.index(v) + _aside(values, index) for index, v in enumerate(values)]
    if min(values) > 0 and max(values) / min(values) >= _LOG_SPAN:
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
    return [float(value) for value in values]


def _aside(values: Sequence[Any], index: int) -> float:
    """How far the `index`-th setting stands from its tick, which it shares with others."""
    alike = [i for i, value in enumerate(values) if value == values[index]]
    return 0.6 * ((alike.index(index) + 0.5) / len(alike) - 0.5)
