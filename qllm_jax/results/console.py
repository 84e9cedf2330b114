"""What a person sees while a job runs: phases with progress, and tables.

On a terminal it is a live display; in a pipe or a log it is plain lines, at most one every few
seconds for each phase, without control characters.
"""

import math
import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self, TextIO

import rich.console
import rich.live
import rich.table
import rich.text

from qllm_jax.results.rich_table import rich_table
from qllm_jax.results.table import (
    Table,
    format_number,
    format_rate,
    format_seconds,
    plain_text,
)

PLAIN_INTERVAL_S = 5.0
_BAR_WIDTH = 14


class Phase:
    """Progress of one part of a job, and the arithmetic behind its line.

    Rates count from the end of compilation, over all seeds.
    """

    def __init__(
        self,
        name: str,
        total: int | None,
        num_seeds: int,
        unit: str,
        clock: Callable[[], float],
    ):
        self.name, self.total, self.num_seeds, self.unit = name, total, num_seeds, unit
        self._clock = clock
        self.started = clock()
        self.running_since: float | None = None
        self.compile_s: float | None = None
        self.completed = 0
        self._base = 0
        self.best: float | None = None
        self.note = ""
        self.state = "running"
        self.ended: float | None = None

    def compiled(self, seconds: float | None = None, completed: int = 0) -> None:
        """Compilation is over: the clock of the rate starts, at `completed` for a resumed run."""
        self.compile_s = self._clock() - self.started if seconds is None else seconds
        self.running_since = self._clock()
        self._base = self.completed = completed

    @property
    def fraction(self) -> float:
        """Part done, in [0, 1]."""
        return min(self.completed / self.total, 1.0) if self.total else 0.0

    @property
    def elapsed_s(self) -> float:
        """Seconds of running, compilation apart."""
        start = self.started if self.running_since is None else self.running_since
        return (self._clock() if self.ended is None else self.ended) - start

    @property
    def rate(self) -> float | None:
        """Units per second over all seeds; None before anything is done."""
        done = (self.completed - self._base) * self.num_seeds
        return done / self.elapsed_s if done > 0 and self.elapsed_s > 0 else None

    @property
    def left_s(self) -> float | None:
        """Seconds left at the rate so far; None before anything is done."""
        if not self.total or self.rate is None:
            return None
        return max(self.total - self.completed, 0) * self.num_seeds / self.rate

    def facts(self) -> list[str]:
        """What the line says after the name, in order."""
        facts = []
        is_training = self.unit == "env steps"
        if is_training and self.running_since is None and self.state == "running":
            waited = f" {format_seconds(self.elapsed_s)}" if self.elapsed_s >= 1 else ""
            return [f"compiling{waited}", *([self.note] if self.note else [])]
        if self.total:
            facts.append(f"{self.fraction:4.0%}")
            if not is_training:
                facts.append(f"{self.completed:,}/{self.total:,} {self.unit}")
        if is_training and self.rate is not None:
            over = f" ({self.num_seeds} seeds)" if self.num_seeds > 1 else ""
            facts.append(f"{format_rate(self.rate)} env-steps/s{over}")
        if self.best is not None and math.isfinite(self.best):
            facts.append(f"best return {format_number(self.best, 2)}")
        if self.state != "running":
            facts.append(f"{self.state} in {format_seconds(self.elapsed_s)}")
        elif self.left_s:  # 0 where all is counted but the phase goes on, as a design's last part
            facts.append(f"{format_seconds(self.left_s)} left")
        if self.compile_s is not None:
            facts.append(f"compile {format_seconds(self.compile_s)}")
        return [*facts, *([self.note] if self.note else [])]


class Console:
    """Progress and tables on one stream; a context manager that always restores the terminal.

    Args:
        file: Where to write; None is standard output.
        interactive: Live display; None decides by whether `file` is a terminal.
        quiet: Write tables only.
        plain_interval_s: Least seconds between two plain lines of a phase.
        clock: Monotonic seconds, for tests.
    """

    def __init__(
        self,
        file: TextIO | None = None,
        *,
        interactive: bool | None = None,
        quiet: bool = False,
        plain_interval_s: float = PLAIN_INTERVAL_S,
        clock: Callable[[], float] = time.monotonic,
    ):
        self._file = sys.stdout if file is None else file
        self._rich = rich.console.Console(file=self._file, highlight=False)
        self.interactive = (
            self._rich.is_terminal and not self._rich.is_dumb_terminal
            if interactive is None
            else interactive
        )
        self._quiet = quiet
        self._interval_s = plain_interval_s
        self._clock = clock
        self._phases: list[Phase] = []
        self._table: Table | None = None
        self._shown_rows: set[tuple[str, ...]] = set()
        self._last_plain = -math.inf
        self._live: rich.live.Live | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._end_phase("done" if kind is None else "interrupted")
        self._stop_live()

    def phase(
        self,
        name: str,
        total_steps: int | None = None,
        *,
        num_seeds: int = 1,
        unit: str = "env steps",
    ) -> Phase:
        """Begin a phase; the one before ends.

        Args:
            name: Such as "design" or "train qmix".
            total_steps: Per seed; None where unknown.
            num_seeds: Seeds that take these steps side by side.
            unit: What is counted; "env steps" has a rate and begins with compilation, which
                ends at `compiled` or at the first `update`.
        """
        self._end_phase("done")
        if self.interactive and self._table is not None:
            table, self._table = self._table, None
            self._rich.print(rich_table(table, self._rich.width))
        current = Phase(name, total_steps, num_seeds, unit, self._clock)
        self._phases.append(current)
        self._last_plain = -math.inf
        self._show(force=True)
        return current

    def compiled(self, seconds: float | None = None, completed: int = 0) -> None:
        """Say that the current phase's compilation took `seconds` and that it runs now."""
        if self._phases:
            self._phases[-1].compiled(seconds, completed)
            self._show(force=True)

    def update(
        self, completed: int | None = None, *, best: float | None = None, note: str | None = None
    ) -> None:
        """Report progress of the current phase.

        Args:
            completed: Steps per seed so far.
            best: A return; the best so far is shown.
            note: A few words at the end of the line.
        """
        if not self._phases:
            return
        current = self._phases[-1]
        if completed is not None:
            if current.unit == "env steps" and current.running_since is None:
                current.compiled()
            current.completed = completed
        if best is not None and math.isfinite(best):
            current.best = best if current.best is None else max(current.best, best)
        current.note = note if note is not None else current.note
        self._show()

    def finish(self, state: str = "done", *, note: str | None = None) -> None:
        """End the current phase: "done", "interrupted" or "failed"."""
        if self._phases and note is not None:
            self._phases[-1].note = note
        self._end_phase(state)

    def show_table(self, table: Table) -> None:
        """Keep `table` below the progress, replacing the one before; plain output gets new rows."""
        self._table = table
        if self.interactive:
            self._show(force=True)
            return
        if self._quiet:
            return
        for row in table.rows:
            if row not in self._shown_rows:
                self._shown_rows.add(row)
                named = zip(table.columns, row, strict=True)
                cells = [f"{column}: {cell}" for column, cell in named if cell not in ("", "–")]
                self._write("  " + "; ".join(cells))

    def print_table(self, table: Table) -> None:
        """Print `table` once, for good."""
        if self.interactive:
            self._stop_live()
            self._rich.print(rich_table(table, self._rich.width))
            for note in table.notes:
                self._rich.print(rich.text.Text(note, style="dim"))
        else:
            self._write(plain_text(table))

    def print(self, text: str = "") -> None:
        """Print a line above the progress."""
        if self.interactive:
            self._rich.print(rich.text.Text(text))
        else:
            self._write(text)

    def _end_phase(self, state: str) -> None:
        if not self._phases or self._phases[-1].state != "running":
            return
        current = self._phases[-1]
        current.state, current.ended = state, self._clock()
        self._show(force=True)

    def _show(self, force: bool = False) -> None:
        if self._quiet:
            return
        if self.interactive:
            if self._live is None:
                self._live = rich.live.Live(
                    get_renderable=self._render,
                    console=self._rich,
                    refresh_per_second=4,
                    redirect_stdout=False,
                    redirect_stderr=False,
                )
                self._live.start()
            if force:
                self._live.refresh()
            return
        elapsed = self._clock() - self._last_plain
        if self._phases and (force or elapsed >= self._interval_s):
            self._last_plain = self._clock()
            current = self._phases[-1]
            self._write(f"{current.name}: " + ", ".join(fact.strip() for fact in current.facts()))

    def _stop_live(self) -> None:
        if self._live is not None:
            live, self._live = self._live, None
            live.stop()
            self._phases = [phase for phase in self._phases if phase.state == "running"]
            self._table = None

    def _render(self) -> rich.console.RenderableType:
        grid = rich.table.Table.grid(padding=(0, 1))
        for phase in self._phases:
            mark, style = {
                "running": ("●", "cyan"),
                "done": ("✓", "green"),
                "interrupted": ("■", "yellow"),
            }.get(phase.state, ("✗", "red"))
            filled = round(phase.fraction * _BAR_WIDTH)
            bar = rich.text.Text("━" * filled, style=style)
            bar.append("━" * (_BAR_WIDTH - filled), style="grey37")
            facts = rich.text.Text(" · ".join(phase.facts()))
            grid.add_row(
                rich.text.Text(mark, style=style),
                rich.text.Text(phase.name, style="bold" if phase.state == "running" else ""),
                bar if phase.total else rich.text.Text(),
                facts,
            )
        if self._table is None:
            return grid
        return rich.console.Group(grid, rich_table(self._table, self._rich.width))

    def _write(self, text: str) -> None:
        """Plain text, whatever the stream's encoding can hold, seen at once."""
        encoding = getattr(self._file, "encoding", None) or "utf-8"
        self._file.write(text.encode(encoding, "replace").decode(encoding) + "\n")
        self._file.flush()
