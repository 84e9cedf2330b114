"""What a terminal and what a pipe sees."""

import io
import os
import pty
import re
import subprocess
import sys
import threading

import pytest

from qllm_jax.results import Console, Table, comparison_rows, comparison_table
from qllm_jax.results.console import Phase
from qllm_jax.results.rich_table import column_groups, column_widths

CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f]")


class Clock:
    """Seconds that pass when told."""

    now = 100.0

    def __call__(self):
        return self.now


def lines(file):
    return file.getvalue().splitlines()


def test_rates_count_all_seeds_and_leave_compilation_out():
    clock = Clock()
    phase = Phase("train", 1000, 8, "env steps", clock)
    clock.now += 30
    assert phase.facts() == ["compiling 30 s"]
    phase.compiled()
    assert phase.compile_s == 30
    clock.now += 10
    phase.completed = 250
    assert phase.rate == 8 * 250 / 10
    assert phase.left_s == pytest.approx(30.0)
    assert phase.facts() == [" 25%", "200 env-steps/s (8 seeds)", "30 s left", "compile 30 s"]


def test_a_resumed_phase_counts_only_what_it_did():
    clock = Clock()
    phase = Phase("train", 1000, 2, "env steps", clock)
    phase.compiled(5.0, completed=600)
    clock.now += 10
    phase.completed = 700
    assert phase.rate == 20
    assert phase.left_s == pytest.approx(30.0)


def test_a_pipe_gets_plain_lines_a_few_seconds_apart():
    file, clock = io.StringIO(), Clock()
    with Console(file, clock=clock) as console:
        assert not console.interactive
        console.phase("train qmix", 100, num_seeds=2)
        for step in range(1, 101):
            clock.now += 0.5
            console.update(step, best=-float(step))
        console.print("done: report.html")
    text = file.getvalue()
    assert not CONTROL.search(text)
    assert lines(file)[0] == "train qmix: compiling"
    # 50 s at a line every 5 s, and the beginning, the first update's and the end
    assert 10 <= len(lines(file)) <= 14
    # rate: 99 steps of 2 seeds in 49.5 s after the first update, which ended compilation
    assert lines(file)[-1] == (
        "train qmix: 100%, 4 env-steps/s (2 seeds), best return −1.00, done in 50 s, compile 0.5 s"
    )


def test_an_exception_ends_the_phase_as_interrupted():
    file = io.StringIO()
    console = Console(file)

    def interrupted_job():
        with console:
            console.phase("train", 100)
            console.update(10)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted_job()
    assert "interrupted in" in lines(file)[-1]


def test_calls_out_of_order_do_no_harm():
    file = io.StringIO()
    with Console(file) as console:
        console.update(3)
        console.compiled(1.0)
        console.finish()
        console.phase("design", None, unit="candidates")
        console.update(2, note="asking the coder")
        console.finish("failed")
        console.finish()
    assert "failed" in lines(file)[-1]
    assert "asking the coder" in lines(file)[-1]


def test_quiet_prints_tables_only():
    file = io.StringIO()
    table = Table("", ("a", "b"), (("x", "1"),), (False, True))
    with Console(file, quiet=True) as console:
        console.phase("train", 10)
        console.update(5)
        console.show_table(table)
        console.print_table(table)
    assert lines(file) == ["a  b", "-  -", "x  1"]


def test_a_growing_table_prints_new_and_changed_rows_once():
    file = io.StringIO()
    with Console(file) as console:
        console.show_table(Table("", ("a", "b"), (("x", "asking"),), (False, False)))
        console.show_table(Table("", ("a", "b"), (("x", "kept"), ("y", "–")), (False, False)))
    assert lines(file) == ["  a: x; b: asking", "  a: x; b: kept", "  a: y"]


def test_a_stream_that_knows_only_ascii_is_enough(report_data):
    file = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    with Console(file) as console:
        console.phase("train", 10)
        console.update(5, best=-3.0)
        console.print_table(comparison_table(comparison_rows(report_data.runs)))
    file.flush()
    assert b"tfcaf" in file.buffer.getvalue()


def test_updates_from_threads_are_safe():
    file = io.StringIO()
    with Console(file, plain_interval_s=0.0) as console:
        console.phase("design", 400, unit="candidates")
        threads = [
            threading.Thread(target=lambda: [console.update(i) for i in range(100)])
            for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(lines(file)) >= 400
    assert all(line.startswith("design: ") for line in lines(file))


@pytest.mark.parametrize("width", [200, 120, 80, 40])
def test_tables_fit_and_every_column_is_shown(report_data, width):
    table = comparison_table(comparison_rows(report_data.runs))
    groups = column_groups(table, width)
    widths = column_widths(table)
    assert sorted({index for group in groups for index in group}) == list(range(11))
    assert all(group[0] == 0 for group in groups)
    for group in groups:
        total = sum(widths[index] for index in group) + 2 * (len(group) - 1)
        assert total <= width or len(group) == 2


SCRIPT = """
import time
from qllm_jax.results import Console, Table
table = Table("scores", ("mixer", "return"), (("qmix", "−36.2"),), (False, True))
with Console() as console:
    assert console.interactive
    console.phase("train qmix", 100, num_seeds=4)
    console.compiled(3.0)
    console.update(40, best=-50.0)
    time.sleep(0.4)
    {ending}
    console.finish()
    console.print_table(table)
"""


def _on_a_terminal(ending):
    """Run SCRIPT on a pseudo-terminal; its exit status and all it wrote."""
    parent, child = pty.openpty()
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "100", "LINES": "30"}
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT.format(ending=ending)],
        stdin=child,
        stdout=child,
        stderr=child,
        env=environment,
    )
    os.close(child)
    written = b""
    while True:
        try:
            piece = os.read(parent, 65536)
        except OSError:  # Linux reports the closed terminal as an error
            break
        if not piece:
            break
        written += piece
    os.close(parent)
    return process.wait(60), written.decode()


def test_a_terminal_gets_a_live_display_and_its_cursor_back():
    status, text = _on_a_terminal("pass")
    assert status == 0, text
    assert "40%" in text
    assert "best return −50.00" in text
    assert "compile 3.0 s" in text
    assert text.rindex("\x1b[?25h") > text.rindex("\x1b[?25l")
    assert "qmix" in text[text.rindex("scores") :]


def test_ctrl_c_gives_the_cursor_back():
    status, text = _on_a_terminal("raise KeyboardInterrupt")
    assert status != 0
    assert "interrupted in" in text
    assert text.rindex("\x1b[?25h") > text.rindex("\x1b[?25l")


def test_nothing_is_said_to_be_left_of_a_phase_that_goes_on_when_all_is_counted():
    now = [0.0]
    phase = Phase("design", 6, 1, "candidates", lambda: now[0])
    now[0], phase.completed = 3.0, 3
    assert "3.0 s left" in phase.facts()
    phase.completed = 6
    assert not any("left" in fact for fact in phase.facts())
