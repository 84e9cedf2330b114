"""The whole loop, offline: recorded answers, real translation and verification, faked training."""

import dataclasses
import json
import re
import resource
import threading
from typing import ClassVar

import pytest
from design_loop import NEGATIVE, PROSE, SUM, VDN_CODE, Scripted, quick_verify

from qllm_jax.errors import UserError
from qllm_jax.llm import AccessError, LlmError, RecordedClient
from qllm_jax.synthesis import generate
from qllm_jax.synthesis import loop as loop_module
from qllm_jax.synthesis.coder import first_sentence
from qllm_jax.synthesis.journal import Journal


@pytest.fixture(autouse=True)
def use_quick_verify(monkeypatch):
    monkeypatch.setattr(loop_module, "verify", quick_verify)


def summary(result):
    """What must be equal however often a run was interrupted."""
    return (
        result.artifact.sha256,
        result.artifact.provenance,
        result.reason,
        result.stopped,
        result.reference,
        result.agreement,
        [
            (
                item.name,
                item.verdict,
                item.parent,
                item.rule,
                item.measurement,
                item.advice,
                item.original,
            )
            for item in result.candidates
        ],
    )


def run(climbing, config, client, directory, measure, events=None):
    on_event = events.append if events is not None else None
    return generate(climbing, config, client, directory, on_event, measure)


def test_a_run_proposes_repairs_measures_and_chooses(
    climbing, config, recorded, fake_measure, tmp_path
):
    events, measure = [], fake_measure("r1c2")
    result = run(climbing, config, recorded, tmp_path, measure, events)
    by_name = {item.name: item for item in result.candidates}
    assert list(by_name) == ["r1c1", "r1c2", "r1c3", "r2c1", "r2c2", "r2c3"]
    assert by_name["r1c2"].refusals[0].stage == "verification"
    assert by_name["r1c2"].rule == "igm"
    assert {by_name[name].parent for name in ("r2c1", "r2c2", "r2c3")} == {"r1c2"}
    assert result.chosen.name == "r1c2"
    assert result.chosen.verdict == "chosen"
    assert by_name["r1c1"].verdict == "measured"
    assert result.artifact.provenance["candidate"] == "r1c2"
    assert result.artifact.original == result.chosen.original
    assert result.provider == "recorded"
    assert "recorded" in result.notes[0]
    assert all(row.dollars == 0.0 for row in result.costs)
    assert result.stopped == "rounds"
    # round 1: three candidates beside VDN and QMIX; round 2: the incumbent too; then the finalist
    assert [arms for arms, _, _ in measure.calls] == [
        ("vdn", "qmix", "r1c1", "r1c2", "r1c3"),
        ("vdn", "qmix", "r1c2", "r2c1", "r2c2", "r2c3"),
        ("vdn", "qmix", "r1c2"),
    ]
    seeds = [seeds for _, seeds, _ in measure.calls]
    assert len({item.first for item in seeds}) == 3  # the finalist is scored on fresh seeds
    assert seeds[2].count == config.synthesis.final_seeds
    assert "fresh seeds" in result.reason
    assert {event.kind for event in events} >= {
        "round",
        "asking",
        "refused",
        "valid",
        "measuring",
        "measured",
        "reviewed",
        "agreement",
        "chosen",
        "stopped",
    }
    assert (events[-1].kind, events[-1].candidate) == ("chosen", "r1c2")
    assert json.loads((tmp_path / "journal.jsonl").read_text().splitlines()[0])["step"] == "start"


@pytest.mark.parametrize("winner", ["r1c1", "r1c2", "r1c3", "nobody"])
@pytest.mark.parametrize("evaluator", ["measured+llm", "llm"])
def test_a_replay_needs_no_answer_that_is_not_recorded_whoever_wins(
    climbing, with_synthesis, recorded, fake_measure, tmp_path, winner, evaluator
):
    config = with_synthesis(evaluator=evaluator)
    result = run(climbing, config, recorded, tmp_path, fake_measure(winner))
    assert result.artifact.sha256


def test_measured_selection_alone_asks_no_evaluator(
    climbing, with_synthesis, recorded, fake_measure, tmp_path
):
    config = with_synthesis(evaluator="measured")
    result = run(climbing, config, recorded, tmp_path, fake_measure("r2c3"))
    assert [row.purpose for row in result.costs] == ["coder"]
    assert result.chosen.name == "r2c3"
    assert result.agreement == {}


class Kill(BaseException):
    """What a kill looks like from inside."""


@pytest.mark.parametrize("stride", [4, pytest.param(1, marks=pytest.mark.nightly)])
def test_killed_at_its_events_it_resumes_to_the_same_result(
    stride, climbing, config, recorded, fake_measure, tmp_path, monkeypatch
):
    expected = run(climbing, config, recorded, tmp_path / "whole", fake_measure("r2c2"))
    num_events = len((tmp_path / "whole" / "journal.jsonl").read_text().splitlines())
    record, lock = Journal.record, threading.Lock()
    for last in range(1, num_events, stride):
        written = [0]

        def dying(self, step, value, *, seconds=0.0, written=written, last=last):
            with lock:
                if written[0] >= last:
                    raise Kill
                written[0] += 1
            record(self, step, value, seconds=seconds)

        directory = tmp_path / str(last)
        monkeypatch.setattr(Journal, "record", dying)
        with pytest.raises(Kill):
            run(climbing, config, recorded, directory, fake_measure("r2c2"))
        monkeypatch.setattr(Journal, "record", record)
        assert len((directory / "journal.jsonl").read_text().splitlines()) == last
        resumed = run(climbing, config, recorded, directory, fake_measure("r2c2"))
        assert summary(resumed) == summary(expected)


def test_a_finished_run_is_not_done_again(climbing, config, recorded, fake_measure, tmp_path):
    first = run(climbing, config, recorded, tmp_path, fake_measure())

    def never(*args, **kwargs):
        pytest.fail("done twice")

    class Silent:
        name = "recorded"
        complete = never

    assert summary(run(climbing, config, Silent(), tmp_path, never)) == summary(first)


def test_two_runs_in_one_directory_are_refused(climbing, config, recorded, fake_measure, tmp_path):
    journal = Journal(tmp_path, {"other": 1})
    with pytest.raises(UserError, match="another process is running"):
        run(climbing, config, recorded, tmp_path, fake_measure())
    journal.close()
    with pytest.raises(UserError, match="other settings"):
        run(climbing, config, recorded, tmp_path, fake_measure())


def test_a_provider_that_fails_for_one_candidate_leaves_the_others(
    climbing, with_synthesis, recorded, fake_measure, tmp_path
):
    client = Scripted(recorded, {"r1c1": LlmError("gave up"), "r1.review": "no opinion"})
    result = run(climbing, with_synthesis(num_rounds=1), client, tmp_path, fake_measure("r1c3"))
    assert [item.verdict for item in result.candidates] == ["failed", "measured", "chosen"]
    assert result.candidates[0].error == "gave up"
    assert any("no JSON object" in note for note in result.notes)
    assert len(list((tmp_path / "transcripts").iterdir())) == 4  # r1c2 twice, r1c3, the review


@pytest.mark.parametrize("turn", ["r1c2", "r1c2.repair1", "r1.review", "r2c3", "r2.review"])
def test_a_key_or_quota_that_ends_ends_the_run_which_resumes_to_the_same_result(
    climbing, config, recorded, fake_measure, tmp_path, turn
):
    """Nothing is journaled as a candidate's failure, so that nothing is missing afterwards."""
    broken = AccessError("gemini: HTTP 402: no credit.")
    client = Scripted(recorded, {turn: broken})
    with pytest.raises(UserError, match=r"no credit.*`qllm-jax resume`"):
        run(climbing, config, client, tmp_path / "ended", fake_measure("r2c2"))
    assert '.failed"' not in (tmp_path / "ended" / "journal.jsonl").read_text()
    mended = Scripted(recorded, {})
    resumed = run(climbing, config, mended, tmp_path / "ended", fake_measure("r2c2"))
    whole = run(climbing, config, mended, tmp_path / "whole", fake_measure("r2c2"))
    assert summary(resumed) == summary(whole)


@pytest.mark.parametrize("number", [1, 2])
def test_a_round_without_any_answer_stops_and_resumes(
    climbing, config, recorded, fake_measure, tmp_path, number
):
    down = Scripted(
        recorded, dict.fromkeys([f"r{number}c{i}" for i in (1, 2, 3)], LlmError("down"))
    )
    if number == 1:
        with pytest.raises(UserError, match="down"):
            run(climbing, config, down, tmp_path / "down", fake_measure("r2c2"))
    else:
        stopped = run(climbing, config, down, tmp_path / "down", fake_measure("r2c2"))
        assert stopped.stopped == "no answer in round 2: down"
        assert stopped.chosen.round == 1
    up = Scripted(recorded, {})
    resumed = run(climbing, config, up, tmp_path / "down", fake_measure("r2c2"))
    whole = run(climbing, config, up, tmp_path / "whole", fake_measure("r2c2"))
    assert summary(resumed) == summary(whole)


def test_a_review_that_failed_is_not_asked_for_again(
    climbing, config, recorded, fake_measure, tmp_path
):
    """What the second round was told rests on the fallback."""
    down = Scripted(recorded, {"r1.review": LlmError("down")})
    first = run(climbing, config, down, tmp_path, fake_measure("r2c2"))
    assert "the evaluator gave no answer: down" in first.notes
    again = run(climbing, config, Scripted(recorded, {}), tmp_path, fake_measure("r2c2"))
    assert summary(again) == summary(first)
    assert again.notes == first.notes


def test_a_budget_that_ends_at_the_review_ends_the_run_and_a_larger_one_asks_for_it(
    climbing, with_synthesis, recorded, fake_measure, tmp_path
):
    """Round 1 takes four calls before the review: three answers and a repair."""
    client = Scripted(recorded, {})
    small = run(climbing, with_synthesis(max_calls=4), client, tmp_path / "a", fake_measure("r2c2"))
    assert small.stopped.startswith("budget: ")
    assert any("was not asked" in note for note in small.notes)
    large = run(
        climbing, with_synthesis(max_calls=60), client, tmp_path / "a", fake_measure("r2c2")
    )
    whole = run(
        climbing, with_synthesis(max_calls=60), client, tmp_path / "b", fake_measure("r2c2")
    )
    assert summary(large) == summary(whole)
    assert large.notes == whole.notes
    assert not any("was not asked" in note for note in large.notes)
    assert "unknown (llm.prices)" in large.notes[0]


def test_a_diverged_candidate_counts_as_last_in_the_agreement(
    climbing, with_synthesis, recorded, fake_measure, tmp_path
):
    class Diverging(fake_measure):
        def __call__(self, *args, **kwargs):
            found = super().__call__(*args, **kwargs)
            bad = {"scores": (float("nan"),) * 3, "diverged": 3}
            return {
                name: dataclasses.replace(arm, **bad) if name == "r1c1" else arm
                for name, arm in found.items()
            }

    review = '{"ranking": [2, 3, 1], "reason": "", "advice": ""}'
    client = Scripted(recorded, {"r1.review": review})
    config = with_synthesis(num_rounds=1, final_seeds=0)
    result = run(climbing, config, client, tmp_path, Diverging("r1c2"))
    assert result.agreement == {1: 1.0}
    events = map(json.loads, (tmp_path / "journal.jsonl").read_text().splitlines())
    (value,) = [event["value"] for event in events if event["step"] == "r1.agreement"]
    assert value["measured"] == ["r1c2", "r1c3", "r1c1"]


def test_empty_answers_and_prose_are_sent_back(
    climbing, with_synthesis, recorded, fake_measure, tmp_path
):
    answers = {
        "r1c1": ("", "max_tokens"),
        "r1c1.repair1": (VDN_CODE[:60], "max_tokens"),
        "r1c1.repair2": PROSE,
        **dict.fromkeys(["r1c2", "r1c2.repair1", "r1c2.repair2"], PROSE),
        "r1c3": NEGATIVE,
        "r1c3.repair1": VDN_CODE,
        "r1.review": '{"ranking": [1], "reason": "", "advice": ""}',
    }
    client = Scripted(recorded, answers)
    result = run(climbing, with_synthesis(num_rounds=1), client, tmp_path, fake_measure())
    stages = {item.name: [refusal.stage for refusal in item.refusals] for item in result.candidates}
    assert stages["r1c1"] == ["answer", "translation", "translation"]
    for refusal in result.candidates[0].refusals[:2]:
        assert "cut off at its limit of 16,384 tokens" in refusal.feedback
    assert "cut off" not in result.candidates[0].refusals[2].feedback
    assert stages["r1c2"] == ["translation"] * 3
    assert stages["r1c3"] == ["verification"]
    assert result.chosen.name == "r1c3"
    asked = [path.read_text() for path in (tmp_path / "transcripts").iterdir()]
    assert any("repair 2" in text and "smallest credit" not in text for text in asked)
    repair = re.compile(r"repair [12]\..*cut off at its limit of 16,384 tokens", re.DOTALL)
    assert sum(bool(repair.search(text)) for text in asked) == 2  # the coder is told, both times
    assert any("smallest credit -1.000" in text for text in asked)  # what failed reached the coder


def test_a_blocked_answer_is_asked_for_again_as_it_was(
    climbing, with_synthesis, recorded, fake_measure, tmp_path
):
    blocked = [("", "blocked"), VDN_CODE]

    class Blocking(Scripted):
        def complete(self, request):
            label = "r1c1" if request.sample in (0, 3) else ""
            if label and request.purpose == "coder":
                assert len(request.messages) == 2
                self._answers["r1c1"] = blocked[request.sample > 0]
            return super().complete(request)

    client = Blocking(recorded, {"r1.review": "no opinion"})
    result = run(climbing, with_synthesis(num_rounds=1), client, tmp_path, fake_measure("r1c1"))
    assert result.chosen.name == "r1c1"
    assert [item.rule for item in result.chosen.refusals] == ["empty-blocked"]


def test_without_a_valid_candidate_the_run_says_what_refused_each(
    climbing, with_synthesis, recorded, fake_measure, tmp_path
):
    turns = [f"r1c{i}{suffix}" for i in (1, 2, 3) for suffix in ("", ".repair1")]
    client = Scripted(recorded, dict.fromkeys(turns, NEGATIVE))
    config = with_synthesis(num_rounds=1, max_repairs=1)
    with pytest.raises(UserError, match=r"r1c1 refused: igm; r1c2 refused: igm"):
        run(climbing, config, client, tmp_path, fake_measure())


def test_a_repeat_is_dropped(climbing, with_synthesis, recorded, fake_measure, tmp_path):
    same = SUM.format("jnp.sum(agent_qs)").replace("def", "import jax.numpy as jnp\n\ndef", 1)
    answers = {
        "r1c1": VDN_CODE,
        "r1c2": same.replace("agent_qs", "values"),
        "r1c3": SUM.format("0.5 * agent_qs[0] + agent_qs[0] * 0.5 + agent_qs[1]"),
        "r1.review": '{"ranking": [1], "reason": "", "advice": ""}',
    }
    client = Scripted(recorded, answers)
    result = run(climbing, with_synthesis(num_rounds=1), client, tmp_path, fake_measure())
    assert [item.verdict for item in result.candidates] == ["chosen", "duplicate", "duplicate"]
    assert result.candidates[1].error == "says the same as r1c1"


def test_a_budget_ends_the_run_with_what_it_has_and_a_larger_one_resumes_it(
    climbing, with_synthesis, recorded, fake_measure, tmp_path
):
    """Round 1 takes five calls here: three answers, a repair, a review."""
    client = Scripted(recorded, {})
    small = run(climbing, with_synthesis(max_calls=6), client, tmp_path, fake_measure("r2c2"))
    assert small.stopped.startswith("budget: ")
    assert "max_calls" in small.stopped
    assert small.chosen.round == 1
    large = run(climbing, with_synthesis(max_calls=60), client, tmp_path, fake_measure("r2c2"))
    assert large.stopped == "rounds"
    assert large.chosen.name == "r2c2"


def test_killed_at_any_booking_it_resumes_to_the_same_result_and_pays_for_nothing_twice(
    climbing, with_synthesis, recorded, fake_measure, tmp_path, monkeypatch
):
    """Calls of a provider that is paid: each is reserved, answered, settled and journaled."""
    config = with_synthesis(num_rounds=1, evaluator="measured", final_seeds=0)

    class Counting(Scripted):
        asked: ClassVar = []  # (sample, messages) of every request

        def complete(self, request):
            Counting.asked.append((request.sample, len(request.messages)))
            return super().complete(request)

    whole = run(climbing, config, Counting(recorded, {}), tmp_path / "whole", fake_measure("r1c2"))
    assert len(Counting.asked) == 4
    record = Journal.record
    for death in ("ledger.0.reserved", "ledger.2.reserved", "ledger.1.settled", "r1c2.answer0"):
        dead = []

        def dying(self, step, value, *, seconds=0.0, death=death, dead=dead):
            if step == death or dead:
                dead.append(step)
                raise Kill
            record(self, step, value, seconds=seconds)

        Counting.asked, directory = [], tmp_path / death
        monkeypatch.setattr(Journal, "record", dying)
        with pytest.raises(Kill):
            run(climbing, config, Counting(recorded, {}), directory, fake_measure("r1c2"))
        monkeypatch.setattr(Journal, "record", record)
        steps = [
            json.loads(x)["step"] for x in (directory / "journal.jsonl").read_text().splitlines()
        ]
        numbers = {step.split(".")[1] for step in steps if step.startswith("ledger")}
        in_flight = sum(f"ledger.{n}.settled" not in steps for n in numbers)
        resumed = run(climbing, config, Counting(recorded, {}), directory, fake_measure("r1c2"))
        assert summary(resumed) == summary(whole)
        (cost,) = resumed.costs
        # What was in flight is charged at its worst case, as an attempt that failed.
        assert cost.failed_attempts == in_flight
        assert cost.usage.output_tokens >= 16_384 * in_flight
        if death == "r1c2.answer0":
            assert cost.calls == 4
            assert Counting.asked.count((1, 2)) == 1  # its transcript was there: not asked again


@pytest.mark.parametrize("limit", [1_500, 6_000, 9_000])
def test_a_disk_that_fills_up_is_one_error_and_nothing_is_lost(
    climbing, config, recorded, fake_measure, tmp_path, limit
):
    """Files may not grow beyond a limit for a while; what fails first differs with it."""
    client = Scripted(recorded, {})
    whole = run(climbing, config, client, tmp_path / "whole", fake_measure("r2c2"))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        with pytest.raises(UserError, match="cannot write"):
            run(climbing, config, client, tmp_path / "full", fake_measure("r2c2"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    lines = (tmp_path / "full" / "journal.jsonl").read_bytes().split(b"\n")
    assert lines[-1] == b""  # no torn line
    assert not list((tmp_path / "full").rglob("*.partial"))
    resumed = run(climbing, config, client, tmp_path / "full", fake_measure("r2c2"))
    assert summary(resumed) == summary(whole)


def test_no_progress_stops_the_loop(climbing, with_synthesis, recorded, fake_measure, tmp_path):
    config = with_synthesis(patience=1, num_rounds=9)
    result = run(climbing, config, recorded, tmp_path, fake_measure("r1c1"))
    assert result.stopped == "no progress in 1 rounds"
    assert max(item.round for item in result.candidates) == 2


def test_a_missing_answer_ends_the_run_and_says_how_to_record_it(
    climbing, with_synthesis, recorded, fake_measure, tmp_path
):
    with pytest.raises(UserError, match=r"coder request .*about 'matrix/climbing.*llm\.provider"):
        run(climbing, with_synthesis(igm="off"), recorded, tmp_path, fake_measure())


def test_what_a_real_provider_answered_replays(climbing, config, recorded, fake_measure, tmp_path):
    live = run(climbing, config, Scripted(recorded, {}), tmp_path / "live", fake_measure("r2c2"))
    replay_client = RecordedClient(tmp_path / "live" / "transcripts")
    replay = run(climbing, config, replay_client, tmp_path / "replay", fake_measure("r2c2"))
    assert replay.artifact.sha256 == live.artifact.sha256
    assert [item.original for item in replay.candidates] == [
        item.original for item in live.candidates
    ]


def test_an_unwritable_directory_is_one_clear_error(
    climbing, config, recorded, fake_measure, tmp_path
):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write"):
        run(climbing, config, recorded, tmp_path / "file" / "design", fake_measure())


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            "Use distance, e.g. to food. Then more.\n```python\ncode\n```",
            "Use distance, e.g. to food.",
        ),
        ("**Bold** idea\nover lines.", "Bold idea over lines."),
        ("```python\ncode\n```", ""),
        ("x" * 300, "x" * 239 + "…"),
    ],
)
def test_the_first_sentence_of_an_answer(text, sentence):
    assert first_sentence(text) == sentence
