"""A benchmark as tables, as a figure and as a record."""

import dataclasses
import statistics
from collections.abc import Mapping
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator

from qllm_jax.bench.machine import Machine
from qllm_jax.bench.measure import BenchResult
from qllm_jax.bench.parts import Part
from qllm_jax.results import Table, format_rate, format_seconds
from qllm_jax.results.style import FONT_SIZE, INK, MUTED, color_of, new_figure, plain_axes

_MIB = 2**20


def bench_tables(result: BenchResult) -> list[Table]:
    """Throughput against seeds, and where the time goes."""
    tables = [_throughput_table(result)]
    if result.parts:
        tables.append(_parts_table(result))
    return tables


def _throughput_table(result: BenchResult) -> Table:
    rows = []
    for row in result.rows:
        low, high = row.env_steps_per_s_range
        rows.append(
            (
                f"{row.num_seeds:,}",
                format_rate(row.env_steps_per_s),
                f"{format_rate(low)} – {format_rate(high)}",
                format_rate(row.env_steps_per_s / row.num_seeds),
                format_seconds(row.compile_s) + (" (cached)" if row.from_cache else ""),
                f"{row.bytes_per_seed / _MIB:.1f} MiB",
                f"{row.replay_bytes_per_seed / _MIB:.1f} MiB",
                f"{100 * row.share_of_matmul_rate(result.machine):.1f} %",
            )
        )
    notes = [
        *(f"{count:,} seeds did not fit: {why}" for count, why in result.skipped.items()),
        "Env-steps/s over all seeds, gradient steps and evaluation included: median chunk, and "
        "slowest – fastest.",
        "At the floor a chunk would take only its matrix products at the machine's measured rate: "
        f"{describe_rates(result.machine)}.",
    ]
    return Table(
        title=f"{result.task}, {result.mixer}, {result.learner}, on {describe(result.machine)}",
        columns=(
            "seeds",
            "env-steps/s",
            "range",
            "per seed",
            "compile",
            "memory per seed",
            "of it replay",
            "share of floor",
        ),
        rows=tuple(rows),
        numeric=(True,) * 8,
        notes=tuple(notes),
    )


def describe(machine: Machine) -> str:
    """Such as "2 × cpu (Intel Xeon, 2 cores, load 0.4), float32 products, JAX 0.10.2"."""
    return (
        f"{machine.num_devices} × {machine.device} ({machine.processor}, {machine.num_cores} "
        f"cores, load {machine.load:.1f}), {machine.matmul_precision} products, "
        f"JAX {machine.versions['jax']}"
    )


def describe_rates(machine: Machine) -> str:
    """The two measured rates with their units."""
    return (
        f"{machine.matmul_flops_per_s / 1e9:,.0f} GFLOP/s; memory moves at "
        f"{machine.bytes_per_s / 1e9:,.0f} GB/s"
    )


def breakdown(parts: tuple[Part, ...]) -> dict[str, float]:
    """Median seconds per chunk by what they are spent on; learning is what an iteration has left.

    Negative remainders, where a part alone was slower than inside the whole, show as zero.
    """
    seconds = {part.name: statistics.median(part.seconds) for part in parts}
    replay = seconds.get("replay", 0.0)
    collecting = seconds["environment and acting"]
    split = {
        "environment": min(seconds["environment"], collecting),
        "acting": max(collecting - seconds["environment"], 0.0),
        "replay": replay,
        "learning": max(seconds["iteration"] - collecting - replay, 0.0),
        "evaluation": seconds["evaluation"],
    }
    return {name: value for name, value in split.items() if name != "replay" or replay}


def _parts_table(result: BenchResult) -> Table:
    split = breakdown(result.parts)
    total = sum(split.values())
    whole = statistics.median(result.rows[-1].chunk_s)
    return Table(
        title=f"Where a chunk's time goes at {result.rows[-1].num_seeds:,} seeds",
        columns=("part", "time per chunk", "share"),
        rows=tuple(
            (name, _milliseconds(value), f"{100 * value / total:.0f} %")
            for name, value in split.items()
        ),
        numeric=(False, True, True),
        notes=(
            f"Each part was compiled and timed alone: together {_milliseconds(total)}, the whole "
            f"chunk {_milliseconds(whole)}.",
            "Acting is collection less the environment; learning is an iteration less collection "
            "and replay.",
        ),
    )


def _milliseconds(seconds: float) -> str:
    return f"{1e3 * seconds:,.4g} ms" if seconds < 10 else f"{1e3 * seconds:,.0f} ms"


def bench_figure(result: BenchResult, width: float = 8.6) -> Figure:
    """Throughput against seeds on logarithmic axes; the parts of a chunk as bars, where timed."""
    if not result.parts:
        figure = new_figure(0.55 * width, 3.2)
        _draw_throughput(figure.add_axes((0.16, 0.17, 0.78, 0.72)), result)
        return figure
    figure = new_figure(width, 3.2)
    _draw_throughput(figure.add_axes((0.09, 0.17, 0.4, 0.72)), result)
    _draw_parts(figure.add_axes((0.65, 0.17, 0.28, 0.72)), breakdown(result.parts), result)
    return figure


def _draw_throughput(axes: Axes, result: BenchResult) -> None:
    plain_axes(axes, "seeds side by side", "environment steps per second")
    seeds = [row.num_seeds for row in result.rows]
    rates = [row.env_steps_per_s for row in result.rows]
    ranges = [row.env_steps_per_s_range for row in result.rows]
    axes.fill_between(
        seeds, [low for low, _ in ranges], [high for _, high in ranges],
        color=color_of(0), alpha=0.15, linewidth=0,
    )  # fmt: skip
    axes.plot(seeds, rates, color=color_of(0), marker="o", markersize=4)
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.set_ylim(min(low for low, _ in ranges) / 1.6, max(high for _, high in ranges) * 1.6)
    axes.set_xticks(seeds, [f"{count:,}" for count in seeds])
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))  # a decade may hold all
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: format_rate(value)))
    axes.yaxis.set_minor_formatter(FuncFormatter(lambda value, _: ""))
    for count, rate in zip(seeds, rates, strict=True):
        axes.annotate(
            format_rate(rate), (count, rate), xytext=(0, 7), textcoords="offset points",
            ha="center", fontsize=FONT_SIZE - 1, color=INK,
        )  # fmt: skip
    axes.set_title(f"{result.task}, {result.mixer}", loc="left", fontsize=FONT_SIZE, color=INK)


def _draw_parts(axes: Axes, split: Mapping[str, float], result: BenchResult) -> None:
    plain_axes(axes, "seconds per chunk")
    axes.grid(visible=False)
    names = list(split)
    axes.barh(names, [split[name] for name in names], color=color_of(0), height=0.6)
    axes.invert_yaxis()
    axes.tick_params(axis="y", colors=INK, length=0)
    total = sum(split.values())
    for index, name in enumerate(names):
        axes.annotate(
            f"{100 * split[name] / total:.0f} %", (split[name], index), xytext=(4, 0),
            textcoords="offset points", va="center", fontsize=FONT_SIZE - 1, color=MUTED,
            annotation_clip=False,
        )  # fmt: skip
    axes.set_title(
        f"a chunk at {result.rows[-1].num_seeds:,} seeds", loc="left", fontsize=FONT_SIZE,
        color=INK,
    )  # fmt: skip


def bench_record(result: BenchResult, command: str) -> dict[str, Any]:
    """The whole result with derived numbers, as JSON holds it."""
    rows = [
        {
            **dataclasses.asdict(row),
            "env_steps_per_s": row.env_steps_per_s,
            "share_of_floor": row.share_of_matmul_rate(result.machine),
        }
        for row in result.rows
    ]
    return {
        "command": command,
        "task": result.task,
        "mixer": result.mixer,
        "learner": result.learner,
        "machine": dataclasses.asdict(result.machine),
        "rows": rows,
        "parts": [dataclasses.asdict(part) for part in result.parts],
        "breakdown_s": breakdown(result.parts) if result.parts else {},
        "skipped": {str(count): why for count, why in result.skipped.items()},
    }
