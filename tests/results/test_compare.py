"""The comparison's numbers, and what is said about them."""

import dataclasses
import math

import numpy as np
import pytest

from qllm_jax.results import (
    Interval,
    Measure,
    RunSummary,
    Table,
    comparison_rows,
    comparison_table,
    headline,
    reference_threshold,
    synthesis_table,
    to_markdown,
)
from qllm_jax.results.table import (
    format_interval,
    format_number,
    format_rate,
    format_seconds,
    format_steps,
    markdown,
    plain_text,
)


def run(name, levels, steps=(0, 100, 200, 300), offsets=(0.0, 0.1, 0.2, 0.3, 0.4), **info):
    """S seeds that follow `levels`, each with an offset of its own."""
    scores = np.asarray(levels)[None, :] + np.asarray(offsets)[:, None]
    return RunSummary(name, {"return": scores, "env_steps": np.asarray(steps)}, info)


def test_rows_by_hand():
    first = run("a", [0, 8, 9, 10], num_mixer_params=0, compile_s=1.0, run_s=2.0)
    second = run("b", [0, 5, 6, 7], num_mixer_params=12)
    one, two = comparison_rows([first, second])
    # final of seed s: mean(8, 9, 10) + offset; IQM of 5: middle three offsets, mean 0.2
    assert one.final.point == pytest.approx(9.2)
    assert one.untrained.point == pytest.approx(0.2)
    assert one.difference is None
    assert two.difference.point == pytest.approx(-3.0)
    assert two.difference.high < 0
    assert two.improvement.point == 0.0
    assert (two.compared_at, two.num_env_steps) == (300, 300)
    # untrained 0.2 + 0.9 · (9.2 - 0.2) = 8.3: offset 0.0, 0.1, 0.2 reach it at 200, the others
    # at 100; the median is the third of the sorted steps 100, 100, 200, 200, 200
    assert reference_threshold([first, second]) == pytest.approx(8.3)
    assert one.steps_to_threshold == 200
    assert one.num_reached == 5
    assert math.isinf(two.steps_to_threshold)
    assert two.num_reached == 0
    assert (one.num_mixer_params, one.compile_s, one.run_s) == (0, 1.0, 2.0)
    # trapezoid of a: (4 + 8.5 + 9.5) / 3 + 0.2
    assert one.mean_over_training == pytest.approx(22 / 3 + 0.2)


def test_an_interrupted_run_is_compared_at_the_steps_it_reached():
    first = run("a", [0, 2, 4, 10])
    short = run("b", [0, 2], steps=(0, 100), status="interrupted")
    row = comparison_rows([first, short])[1]
    assert row.compared_at == 100
    assert row.difference.point == pytest.approx(0.0)  # 2 against 2, not against 10
    assert row.final.point == pytest.approx(2.2)
    table = comparison_table([*comparison_rows([first, short])])
    assert table.rows[1][0] == "b (interrupted)"
    assert "b at 100" in " ".join(table.notes)


def test_runs_without_training_are_shown_and_not_compared():
    fresh = run("b", [0], steps=(0,))
    empty = RunSummary("c", {"return": np.zeros((3, 0)), "env_steps": np.zeros(0)}, {})
    rows = comparison_rows([fresh, empty, run("a", [0, 2, 4, 10])])
    assert [row.name for row in rows] == ["b", "a"]
    assert rows[0].difference is None
    assert rows[1].difference is None  # "a" is the first that was trained
    assert "b (not trained)" in comparison_table(rows).rows[0]


def test_diverged_seeds_are_left_out_and_counted():
    whole = run("a", [0, 2, 4, 10])
    scores = whole.metrics["return"].copy()
    scores[4, 2:] = np.nan
    broken = dataclasses.replace(whole, metrics={**whole.metrics, "return": scores})
    (row,) = comparison_rows([broken])
    assert (row.num_seeds, row.num_diverged) == (4, 1)
    # 4 seeds: offsets 0.1 and 0.2 are the middle half; (2 + 4 + 10) / 3 + 0.15
    assert row.final.point == pytest.approx(16 / 3 + 0.15)
    frozen = np.zeros((5, 4), bool)
    frozen[0, 3] = True  # frozen at a finite value, and said so
    marked = dataclasses.replace(whole, metrics={**whole.metrics, "diverged": frozen})
    (row,) = comparison_rows([marked])
    assert (row.num_seeds, row.num_diverged) == (4, 1)
    table = comparison_table([row])
    assert table.rows[0][3] == "4 of 5"
    assert "a 1" in " ".join(table.notes)
    gone = dataclasses.replace(whole, metrics={**whole.metrics, "return": scores * np.nan})
    (row,) = comparison_rows([gone])
    assert row.num_seeds == 0
    assert "Nothing has been evaluated" in headline([row], "task")


@pytest.mark.parametrize(
    ("levels", "expected"),
    [
        ([0, 5, 6, 7], "above b"),
        ([0, 12, 13, 14], "below b"),
        ([0, 8, 9, 10.1], "not separable from b"),
    ],
)
def test_the_headline_says_what_the_interval_of_the_difference_says(levels, expected):
    rows = comparison_rows([run("a", [0, 8, 9, 10]), run("b", levels)])
    text = headline(rows, "some/task")
    assert expected in text
    assert text.startswith("On some/task, a ends at an IQM return of 9.2")
    assert "All end above the untrained policy" in text


def test_the_headline_does_not_claim_learning_without_it():
    rows = comparison_rows([run("a", [5, 5, 5, 5])])
    assert "None ends above the untrained policy" in headline(rows, "t")
    mixed = comparison_rows([run("a", [5, 9, 9, 9]), run("b", [5, 5, 5, 5])])
    assert "intervals apart: a; not b" in headline(mixed, "t")
    single = comparison_rows([run("a", [5, 9, 9, 9], offsets=(0.0,)), run("b", [5, 6, 6, 6])])
    assert "with too few seeds to compare it with b" in headline(single, "t")
    assert headline((), "t") == "Nothing has been evaluated after training on t yet."


def test_equal_results_are_called_the_same():
    flat = [run(name, [0, 5, 5, 5], offsets=(0.0,) * 5) for name in "ab"]
    assert ": the same as b." in headline(comparison_rows(flat), "t")


def test_few_seeds_are_pointed_out():
    five, one = run("a", [0, 1], steps=(0, 1)), run("a", [0, 1], steps=(0, 1), offsets=(0.0,))
    assert "5 seeds" in " ".join(comparison_table(comparison_rows([five])).notes)
    assert "not defined" in " ".join(comparison_table(comparison_rows([one])).notes)


def test_markdown_is_a_table_with_escaped_pipes():
    rows = comparison_rows([run("a|b", [0, 8, 9, 10])])
    lines = to_markdown(rows, landmarks={"random": -1.0}).splitlines()
    assert lines[0].startswith("| mixer | IQM return | 95 % interval |")
    assert lines[1].startswith("| --- | ---: |")
    assert lines[2].startswith("| a\\|b | 9.2")
    assert lines[4].startswith("| random | −1 |")
    assert {line.replace("\\|", "").count("|") for line in lines[:5]} == {12}


WINS = Measure("win rate", "win_rate", {"random": 0.002, "untrained": 0.5, "best possible": 1.0})


def with_wins(summary, levels):
    rates = np.broadcast_to(np.asarray(levels, float), summary.metrics["return"].shape)
    return dataclasses.replace(summary, metrics={**summary.metrics, "win_rate": rates})


def test_a_second_measure_has_columns_of_its_own():
    """Final win rate of a: mean(0.6, 0.8, 1.0), the same for every seed; b has none."""
    first = with_wins(run("a", [0, 8, 9, 10]), [0.0, 0.6, 0.8, 1.0])
    rows = comparison_rows([first, run("b", [0, 5, 6, 7])], outcome=WINS)
    assert rows[0].outcome.point == pytest.approx(0.8)
    assert rows[0].untrained_outcome.point == 0.0
    assert rows[1].outcome is None
    table = comparison_table(rows, landmarks={"random": -1.5, "untrained": 3.0}, outcome=WINS)
    at = table.columns.index("IQM win rate")
    assert table.columns[at + 1] == "95 % interval, win rate"
    shown = {row[0]: (row[1], row[at]) for row in table.rows}
    assert shown["a"][1].startswith("0.8")
    assert shown["b"][1] == ""
    assert shown["untrained"][0].startswith("0.2")  # as measured here, not as on record
    assert shown["untrained"][1].startswith("0.0")
    assert shown["random"] == ("−1.5", "0.002")
    assert shown["best possible"] == ("", "1")
    assert {len(row) for row in table.rows} == {len(table.columns)}
    assert "and an IQM win rate of 0.8" in headline(rows, "t", outcome=WINS)
    assert "win rate" not in headline(rows, "t")


def test_without_an_untrained_evaluation_the_record_says_it():
    late = run("a", [8, 9, 10], steps=(100, 200, 300))
    table = comparison_table(comparison_rows([late]), landmarks={"untrained": -3.25})
    assert table.rows[-1][:2] == ("untrained", "−3.25")


def test_plain_text_is_aligned():
    table = Table("t", ("name", "value"), (("a", "1"), ("long", "1,000")), (False, True))
    assert plain_text(table).splitlines() == [
        "t",
        "name  value",
        "----  -----",
        "a         1",
        "long  1,000",
    ]
    assert markdown(table).count("\n") == 4


def test_numbers_have_the_digits_their_interval_supports():
    nan = float("nan")
    assert format_interval(Interval(-36.234, -37.01, -35.5)) == "−36.2 [−37.0, −35.5]"
    assert format_interval(Interval(0.12345, 0.1, 0.15)) == "0.123 [0.100, 0.150]"
    assert format_interval(Interval(12345.6, 12000.0, 13000.0)) == "12,346 [12,000, 13,000]"
    assert format_interval(Interval(1.0, -1.0, 3.0), sign=True) == "+1.0 [−1.0, +3.0]"
    assert format_interval(Interval(0.0, 0.0, 0.0)) == "0.0 [0.0, 0.0]"
    assert format_interval(Interval(nan, nan, nan)) == "–"
    assert format_number(-0.001, 1, sign=True) == "0.0"
    assert [format_seconds(value) for value in (0.04, 8.24, 75, 750, 11_100, None)] == [
        "0.0 s", "8.2 s", "75 s", "12 min 30 s", "3 h 05 min", "–",
    ]  # fmt: skip
    assert [format_rate(value) for value in (870.4, 10_300, 3.05e6)] == ["870", "10.3k", "3.05M"]
    assert [format_steps(value) for value in (800, 104_832, 1_200_000)] == ["800", "105k", "1.2M"]


def test_synthesis_table_has_scores_tokens_and_money(report_data):
    table = synthesis_table(report_data.candidates)
    by_name = {row[1]: row for row in table.rows}
    assert by_name["vdn"] == ("–", "vdn", "arm", "−47.2 [−49.0, −45.9]", "–", "–")
    assert by_name["r1c2"][2:] == ("refused (import)", "–", "1,980", "$0.0035")
    assert table.rows[table.strong[0]][1] == "r2c1"
    unknown = dataclasses.replace(report_data.candidates[2], dollars=None)
    assert synthesis_table([unknown]).rows[0][-1] == "unknown"
