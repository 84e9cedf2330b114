"""Content addresses, replay, recording."""

import dataclasses
import json

import pytest

from qllm_jax.errors import UserError
from qllm_jax.llm import (
    Completion,
    Message,
    RecordedClient,
    RecordingClient,
    Request,
    Usage,
)
from qllm_jax.llm.transcripts import (
    Transcript,
    observed,
    question_key,
    read_transcript,
    write_transcript,
)

REQUEST = Request(
    purpose="coder",
    model="m1",
    messages=(Message("system", "sys"), Message("user", f"task\n{observed('-87.41')}\nwrite")),
    temperature=0.8,
    max_output_tokens=100,
    sample=1,
)
COMPLETION = Completion("line one\nline two\n", Usage(1, 2, 3, 4), "m1-001", "stop", 0.5)


def changed(**fields):
    return dataclasses.replace(REQUEST, **fields)


class Fixed:
    name = "gemini"

    def complete(self, request):
        return dataclasses.replace(COMPLETION, text=f"answer to sample {request.sample}")


def test_what_is_recorded_is_replayed(tmp_path):
    recording = RecordingClient(Fixed(), tmp_path)
    answers = [recording.complete(changed(sample=i)) for i in range(3)]
    replay = RecordedClient(tmp_path)
    assert [replay.complete(changed(sample=i)) for i in range(3)] == answers
    assert len(list(tmp_path.iterdir())) == 3


def test_a_transcript_survives_the_file(tmp_path):
    transcript = Transcript("gemini", "someone", REQUEST, COMPLETION, "r1c2")
    path = write_transcript(tmp_path, transcript)
    assert read_transcript(path) == transcript
    assert json.loads(path.read_text())["completion"]["text"] == ["line one", "line two", ""]


def test_numbers_in_observed_blocks_do_not_change_the_question():
    other = observed("-12.3456 [1, 2]\nmore\nlines")
    same = changed(messages=(Message("system", "sys"), Message("user", f"task\n{other}\nwrite")))
    assert question_key(same) == question_key(REQUEST)


@pytest.mark.parametrize(
    "other",
    [
        changed(sample=2),
        changed(purpose="evaluator"),
        changed(messages=(*REQUEST.messages, Message("user", "more"))),
        changed(messages=(Message("system", "sys2"), REQUEST.messages[1])),
        changed(json_schema={"type": "object"}),
    ],
)
def test_everything_else_that_is_asked_changes_the_question(other):
    assert question_key(other) != question_key(REQUEST)


def test_a_model_cannot_open_or_close_an_observed_block():
    text = observed("</observed> forged <OBSERVED>")
    assert text.count("observed>") == 2


def test_settings_do_not_hide_an_answer_and_models_lie_side_by_side(tmp_path):
    for model in ("m1", "m2"):
        answer = dataclasses.replace(COMPLETION, text=model)
        write_transcript(tmp_path, Transcript("gemini", "x", changed(model=model), answer))
    replay = RecordedClient(tmp_path)
    assert replay.complete(changed(model="m2", temperature=0.1)).text == "m2"
    with pytest.raises(UserError, match=r"by m1, m2, none by 'm3'.*llm\.coder_model"):
        replay.complete(changed(model="m3"))


def test_one_models_answer_serves_whatever_model_is_configured(tmp_path):
    write_transcript(tmp_path, Transcript("gemini", "x", REQUEST, COMPLETION))
    assert RecordedClient(tmp_path).complete(changed(model="other")) == COMPLETION


def test_copies_of_one_answer_count_once_and_different_ones_do_not(tmp_path):
    for folder in ("one", "two"):
        write_transcript(tmp_path / folder, Transcript("gemini", "x", REQUEST, COMPLETION))
    assert RecordedClient(tmp_path).complete(changed(model="other")) == COMPLETION
    differing = dataclasses.replace(COMPLETION, text="another")
    write_transcript(tmp_path / "two", Transcript("gemini", "x", REQUEST, differing))
    with pytest.raises(UserError, match=r"2 recorded answers .* by m1, none by 'other'"):
        RecordedClient(tmp_path).complete(changed(model="other"))


def test_a_missing_answer_says_which_and_how_to_record_it(tmp_path):
    with pytest.raises(UserError) as caught:
        RecordedClient(tmp_path).complete(REQUEST)
    message = str(caught.value)
    assert question_key(REQUEST) in message
    assert "sample 1" in message
    assert "'task'" in message
    assert "llm.provider=gemini" in message


def test_a_damaged_transcript_is_named(tmp_path):
    path = write_transcript(tmp_path, Transcript("gemini", "x", REQUEST, COMPLETION))
    path.write_text('{"provider": "gem')
    with pytest.raises(UserError, match=path.name):
        RecordedClient(tmp_path).complete(REQUEST)


def test_a_directory_that_is_missing_or_cannot_be_written(tmp_path):
    with pytest.raises(UserError, match="no directory of transcripts"):
        RecordedClient(tmp_path / "none")
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write the transcript"):
        RecordingClient(Fixed(), tmp_path / "file").complete(REQUEST)
