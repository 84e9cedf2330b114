"""The shipped answers: addressed by what they answer, and still answering today's prompts."""

import dataclasses

import pytest
from task_params import nightly_but, without_most_kitchens

from qllm_jax.config import Config
from qllm_jax.llm import LlmError, RecordedClient
from qllm_jax.llm.ledger import Ledger
from qllm_jax.llm.prompts import prompt_dir
from qllm_jax.llm.transcripts import question_key, read_transcript
from qllm_jax.synthesis.candidate import Candidate, candidate_name
from qllm_jax.synthesis.coder import coder_request, opening_turn
from qllm_jax.synthesis.evaluators import parse_review, review_request
from qllm_jax.synthesis.session import Parent, Session
from qllm_jax.tasks import get_configured_task
from qllm_jax.tfcaf import TranslationError, translate

ROOT = prompt_dir() / "recorded"
TASKS = sorted({str(path.parent.relative_to(ROOT)) for path in ROOT.rglob("*.json")})
PARAMS = nightly_but(without_most_kitchens(TASKS), TASKS)


def transcripts(task):
    return {item.label: item for item in map(read_transcript, sorted((ROOT / task).glob("*.json")))}


@pytest.mark.parametrize("task", PARAMS)
def test_files_are_named_by_what_they_hold_and_say_who_wrote_them(task):
    for path in (ROOT / task).glob("*.json"):
        transcript = read_transcript(path)
        assert path.name == transcript.file_name
        assert transcript.label
        assert transcript.source
        assert transcript.provider not in ("gemini", "openai") or transcript.completion.usage


@pytest.mark.parametrize("task", PARAMS)
def test_every_task_holds_an_honest_failure_and_both_dialects(task):
    spec, answers = get_configured_task(task), transcripts(task)
    repaired = [label for label in answers if "repair" in label]
    assert repaired, "no answer was sent back"
    dialects = set()
    for label, item in answers.items():
        if item.request.purpose == "coder":
            try:
                text = item.completion.text
                dialects.add(translate(text, spec.env.num_agents, spec.env.state_dim).dialect)
            except TranslationError:
                assert f"{label}.repair1" in answers
    assert dialects == {"jnp", "torch"}


@pytest.fixture
def session():
    def make(task):
        def ask(*_, **__):
            raise LlmError("not asked")

        spec = get_configured_task(task)
        return Session(spec, Config(), RecordedClient(ROOT / task), None, Ledger(), ask, ask)

    return make


def accepted(spec, answers, label):
    """The candidate that an answer became, its last repair counting."""
    name = label.partition("@")[0]
    parts = [key for key in answers if key == label or key.startswith(f"{name}.repair")]
    final = max(parts, key=lambda key: "repair" in key)
    text = answers[final].completion.text
    translation = translate(text, spec.env.num_agents, spec.env.state_dim)
    return Candidate(name, int(name[1]), int(name[3]) - 1, None, "", translation=translation)


@pytest.mark.parametrize("task", PARAMS)
def test_whoever_wins_the_next_prompts_are_answered(task, session):
    """Prompts built as the loop builds them, with other numbers than those recorded with."""
    run, answers = session(task), transcripts(task)
    client, first = run.client, []
    for index in range(3):
        client.find(coder_request(run, opening_turn(run, 1, index, None), index))
        first.append(accepted(run.spec, answers, candidate_name(1, index)))
    client.find(review_request(run, 1, first, "other numbers"))
    for winner in first:
        parent = Parent(winner, "other numbers", "other = 1", "other advice", "other history")
        second = []
        for index in range(3):
            request = coder_request(run, opening_turn(run, 2, index, parent), index)
            found = client.find(request)
            assert found.label == f"{candidate_name(2, index)}@{winner.name}"
            second.append(accepted(run.spec, answers, found.label))
        found = client.find(review_request(run, 2, [winner, *second], "other numbers"))
        names = [winner.name, *(item.name for item in second)]
        assert parse_review(found.completion.text, names).ranking


def test_a_changed_task_is_another_question():
    task = "matrix/climbing"
    item = next(iter(transcripts(task).values()))
    system, user = item.request.messages[:2]
    changed = dataclasses.replace(user, text=user.text.replace("N = 2", "N = 3"))
    request = dataclasses.replace(item.request, messages=(system, changed))
    assert question_key(request) != question_key(item.request)
