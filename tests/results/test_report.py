"""The report: self-contained, escaped, complete, and written for partial data too."""

import dataclasses
import html
from html.parser import HTMLParser

import numpy as np
import pytest

from qllm_jax.errors import UserError
from qllm_jax.results import (
    CandidateRow,
    CheckRow,
    CostRow,
    EpisodeFigure,
    Measure,
    ReportData,
    RunSummary,
    TfcafSummary,
    comparison_rows,
    comparison_table,
    load_report_data,
    reference_threshold,
    save_report_data,
    write_report,
)
from qllm_jax.results.markup import highlight
from qllm_jax.results.report import render_report
from qllm_jax.results.report_design import cost_table
from qllm_jax.results.report_parts import describe_credit

VOID = {"meta", "img", "source", "br"}
EVIL = "<script>alert('x')</script>\"'&\x1b[31m"


class Page(HTMLParser):
    """Checks nesting; collects tags, attributes and text."""

    def __init__(self, text):
        super().__init__()
        self.stack, self.tags, self.attributes, self.text = [], [], [], ""
        self.feed(text)
        assert self.stack == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, *attribute) for attribute in attrs]
        if tag not in VOID:
            self.stack.append(tag)

    def handle_endtag(self, tag):
        assert self.stack.pop() == tag

    def handle_data(self, data):
        if self.stack[-1:] != ["style"]:
            self.text += data


@pytest.fixture(scope="module")
def page(report_data):
    return Page(render_report(report_data))


def test_nothing_is_fetched_and_nothing_runs(page):
    assert "script" not in page.tags
    assert "link" not in page.tags
    for tag, name, value in page.attributes:
        assert not name.startswith("on")
        if name in ("src", "srcset", "href"):
            assert value.startswith(("data:image/svg+xml;base64,", "#")), (tag, name, value[:60])


def test_links_in_the_page_lead_somewhere(page):
    targets = {value for _, name, value in page.attributes if name == "id"}
    links = [value[1:] for _, name, value in page.attributes if name == "href"]
    assert set(links) <= targets
    assert links == ["curves", "results", "tfcaf", "credit", "design", "made", "reading"]


def test_every_figure_has_a_text_alternative(page):
    images = page.tags.count("img")
    alternatives = [value for tag, name, value in page.attributes if (tag, name) == ("img", "alt")]
    assert len(alternatives) == images == 3
    assert all(alternatives)


def test_the_table_is_the_terminals_table(page, report_data):
    table = comparison_table(
        comparison_rows(report_data.runs),
        landmarks=report_data.landmarks,
        threshold=reference_threshold(report_data.runs),
    )
    for row in table.rows:
        for cell in row:
            assert cell in page.text
    for note in table.notes:
        assert note in page.text


def test_what_the_reader_needs_is_there(page, report_data):
    for text in (
        report_data.tfcaf.source.strip(),
        report_data.tfcaf.original.strip(),
        "IGM (every credit ≥ 0): proved",
        "It has the highest measured return of 6 candidates",
        "[import] (line 2) scipy.spatial is imported",
        "same outputs as r2c1",
        "qllm-jax run task=mpe/simple_spread runner.num_seeds=8",
        "jax 0.10.2",
        "highest",
        "lr: 0.005",
        "nothing was spent now",
        "Individual-global-max",
    ):
        assert text in page.text


def evil_data(report_data):
    """A report in which every string is hostile."""
    run = dataclasses.replace(report_data.runs[0], name=EVIL)
    return ReportData(
        task=EVIL,
        runs=[run, dataclasses.replace(run, info={"status": EVIL, "path": EVIL})],
        score=EVIL,
        landmarks={EVIL: -80.0},
        tfcaf=TfcafSummary(
            EVIL, f'"""{EVIL}', EVIL, [CheckRow(EVIL, False, EVIL)], EVIL, EVIL, {EVIL: EVIL}
        ),
        candidates=[CandidateRow(EVIL, 1, EVIL, EVIL, EVIL, EVIL * 9, -4.0, advice=EVIL,
                                 difference=EVIL)],
        episodes=[EpisodeFigure((), np.ones((3, 2)) * [1, 2], [EVIL, EVIL], title=EVIL)],
        costs=[CostRow(EVIL, EVIL, 1, 1, 1)],
        command=EVIL,
        device=EVIL,
        precision=EVIL,
        versions={EVIL: EVIL},
        config={EVIL: EVIL},
        created=EVIL,
        notes=[EVIL],
    )  # fmt: skip


def test_hostile_text_stays_text(report_data):
    text = render_report(evil_data(report_data))
    page = Page(text)
    assert "script" not in page.tags
    assert "\x1b" not in text
    assert "<script>" in page.text
    assert {name for _, name, _ in page.attributes} <= {
        "lang", "charset", "name", "content", "http-equiv", "class", "id", "href", "aria-label",
        "src", "srcset", "media", "alt", "tabindex", "aria-hidden", "scope",
    }  # fmt: skip


def test_mathematics_signs_in_names_do_not_break_figures(report_data):
    """Matplotlib reads dollars as TeX; a name must not be able to make it fail."""
    name = r"$\frac{$ a_b ^"
    run = dataclasses.replace(report_data.runs[0], name=name)
    episode = dataclasses.replace(report_data.episodes[0], agent_names=[name] * 3)
    rows = [CandidateRow(name, 1, verdict="chosen", score=1.0)]
    data = ReportData("t", [run], landmarks={name: 1.0}, candidates=rows, episodes=[episode])
    assert html.escape(name) in render_report(data)


@pytest.mark.parametrize(
    "field", ["runs", "tfcaf", "candidates", "episodes", "costs", "config", "versions", "landmarks"]
)
def test_any_part_may_be_missing(report_data, field):
    empty = {"tfcaf": None, "config": {}, "versions": {}, "landmarks": {}}.get(field, ())
    few = dataclasses.replace(report_data, runs=report_data.runs[:1], episodes=())
    text = Page(render_report(dataclasses.replace(few, **{field: empty}))).text
    assert ("was chosen of" if field == "runs" else "tfcaf ends at") in text


def test_an_empty_report_says_so():
    page = Page(render_report(ReportData("matrix/climbing")))
    assert "Nothing has been evaluated after training on matrix/climbing yet." in page.text


def test_interrupted_and_empty_runs_are_announced(report_data):
    first, second = report_data.runs[:2]
    metrics = {key: value[..., :6] for key, value in second.metrics.items()}
    short = dataclasses.replace(
        second, metrics=metrics, info={"status": "interrupted", "num_env_steps": 200_000}
    )
    empty = dataclasses.replace(second, name="vdn", metrics={"return": np.zeros((8, 0))})
    data = dataclasses.replace(report_data, runs=[first, short, empty])
    page = Page(render_report(data))
    assert "qmix was interrupted: what is shown ends at 50,000 of 200,000" in page.text
    assert "vdn has no evaluation yet" in page.text
    assert "above qmix (compared at 50,000 steps)" in page.text


def test_a_second_measure_is_drawn_and_tabulated(report_data, tmp_path):
    def with_wins(run):
        rates = np.full(run.metrics["return"].shape, 0.75)
        return dataclasses.replace(run, metrics={**run.metrics, "win_rate": rates})

    measure = Measure("win rate", "win_rate", {"best possible": 1.0})
    runs = [with_wins(report_data.runs[0]), report_data.runs[1]]
    data = dataclasses.replace(report_data, runs=runs, outcome=measure)
    save_report_data(tmp_path, data)
    page = Page(render_report(load_report_data(tmp_path)))
    images = [value for tag, name, value in page.attributes if (tag, name) == ("img", "alt")]
    assert sum(text.startswith("Curves of the win rate of") for text in images) == 1
    assert "IQM win rate" in page.text
    assert "0.75" in page.text


def test_data_survives_the_disk(report_data, tmp_path):
    save_report_data(tmp_path, report_data)
    again = load_report_data(tmp_path)
    write_report(tmp_path / "one.html", report_data)
    write_report(tmp_path / "two.html", again)
    one, two = (Page((tmp_path / name).read_text()).text for name in ("one.html", "two.html"))
    assert one == two
    np.testing.assert_array_equal(again.episodes[0].frames[3], report_data.episodes[0].frames[3])
    assert again.candidates == report_data.candidates


def test_missing_and_damaged_data_say_so(report_data, tmp_path):
    with pytest.raises(UserError, match=r"holds no report\.json"):
        load_report_data(tmp_path)
    save_report_data(tmp_path, ReportData("t"))
    (tmp_path / "report.json").write_text('{"__kind__": "Unknown"}')
    with pytest.raises(UserError, match="damaged"):
        load_report_data(tmp_path)
    with pytest.raises(UserError, match="cannot write"):
        write_report(tmp_path / "no" / "report.html", ReportData("t"))


def test_money_is_unknown_where_a_price_is():
    known = CostRow("coder", "m", 3, 100, 50, 0.01, 2.0)
    unknown = CostRow("evaluator", "n", 1, 10, 5)
    table = cost_table([known, unknown])
    assert [row[6] for row in table.rows] == ["$0.0100", "unknown", "unknown"]
    assert table.rows[2][2:6] == ("4", "0", "110", "55")
    assert cost_table([known]).rows[0][6:] == ("$0.0100", "2.0 s")


def test_credit_is_described_from_its_numbers():
    names = ["a", "b"]
    uniform = EpisodeFigure((), np.full((4, 2), 1.5), names)
    assert "same credit at every step: 1.5" in describe_credit(uniform)
    moving = EpisodeFigure((), np.arange(1.0, 5)[:, None] * np.ones((1, 2)), names)
    assert "same credit at each step; it changes" in describe_credit(moving)
    credits = np.array([[1.0, 2.0], [1.0, 3.0], [2.0, 1.0], [1.0, -1.0]])
    mixed = describe_credit(EpisodeFigure((), credits, names, rewards=np.array([1.0, 2, 3, 4])))
    assert "differ by up to 2" in mixed
    assert "12 % of the credits are negative" in mixed
    assert "Return of this episode: 10.00" in mixed


def test_code_is_coloured_without_changing_it():
    source = 'def f(x):  # "no string"\n    """doc <b>"""\n    return x + 1e-8 if True else \'#\'\n'
    page = Page(highlight(source))
    assert page.text == source
    coloured = highlight(source)
    assert '<span class="def">f</span>' in coloured
    assert '<span class="com"># &quot;no string&quot;</span>' in coloured
    assert '<span class="num">1e-8</span>' in coloured
    assert Page(highlight("'''never closed <b>\n(")).text == "'''never closed <b>\n("


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("value", [np.nan, np.inf, 1e30, 0.0])
def test_extreme_numbers_are_drawn_without_warnings(value):
    """A diverged run, or one that learned nothing, still gets its report."""
    steps = np.arange(4) * 10
    run = RunSummary("x", {"return": np.full((3, 4), value), "env_steps": steps})
    credits = np.ones((6, 9))
    credits[:, 1] = value
    episodes = [
        EpisodeFigure((), array, [f"a{i}" for i in range(array.shape[1])], array[:, 1])
        for array in (credits, credits[:, :3], credits[:, 1:2].repeat(8, axis=1))
    ]
    rows = [CandidateRow("a", 1, score=value), CandidateRow("b", 1, score=1.0, low=0.5, high=value)]
    data = ReportData("t", [run, run], landmarks={"z": value}, episodes=episodes, candidates=rows)
    assert "How to read this" in Page(render_report(data)).text


def test_a_report_without_steps_in_its_episode_leaves_it_out():
    page = Page(
        render_report(ReportData("t", episodes=[EpisodeFigure((), np.ones((0, 3)), "abc")]))
    )
    assert "Credit in an episode" not in page.text
