"""`qllm-jax generate` in a process of its own, against a model on a loopback server.

Nothing is trained: candidates are compared by reading, so that a run takes seconds.
"""

import functools
import json
import os
import re
import resource
import signal

import command_line
import pytest
import servers
from answering import KEY, Answering, assert_no_key
from design_loop import quick_verify

from qllm_jax.synthesis import generate
from qllm_jax.synthesis import loop as loop_module

pytestmark = pytest.mark.nightly  # half a minute each; `test_loop` does the same in one process

GENERATE = ("generate", "task=matrix/climbing", "synthesis.evaluator=llm")
PROXY = ["http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"]


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def start(cache):
    """Start the command line with the key set, and no other."""
    variables = dict.fromkeys(("GOOGLE_API_KEY", "GEMINI_API_KEY", "OPENAI_API_KEY", *PROXY), "")
    return functools.partial(command_line.start, cache, **{**variables, "OPENAI_API_KEY": KEY})


@pytest.fixture
def script(recorded):
    return Answering("openai", recorded)


@pytest.fixture
def replayed(climbing, with_synthesis, recorded, tmp_path, monkeypatch):
    """The function that an undisturbed run chooses, from the shipped answers."""
    monkeypatch.setattr(loop_module, "verify", quick_verify)
    config = with_synthesis(evaluator="llm")
    return generate(climbing, config, recorded, tmp_path / "replay").artifact.source


def live(url, parent):
    return (
        *GENERATE,
        "llm.provider=openai",
        f"llm.base_url={url}",
        "llm.coder_model=fake",
        "llm.evaluator_model=fake",
        f"runner.output_dir={parent}",
    )


def job_of(parent):
    (file,) = parent.rglob("job.yaml")
    return file.parent


def booked(job):
    """The attempts that the ledger knows: answered ones, and those whose end it never learned."""
    events = [json.loads(line) for line in (job / "design/journal.jsonl").read_text().splitlines()]
    reserved = [item for item in events if item["step"].endswith(".reserved")]
    settled = [item["value"] for item in events if item["step"].endswith(".settled")]
    return sum(not item["failed"] for item in settled), len(reserved) - len(settled)


def finish(process):
    output, _ = process.communicate(timeout=240)
    return process.returncode, output


def test_killed_while_models_answer_it_resumes_and_no_file_or_stream_holds_the_key(
    start, script, replayed, tmp_path
):
    """SIGKILL in round 1 and at the last review; every call fails once, echoing the key in body
    and headers. What was done before the turn of the kill is not paid for again."""
    outputs = []
    with servers.Server(script) as url:
        command = live(url, tmp_path / "jobs")
        for held in ("r1c3", "r2.review"):
            script.held, _ = {held}, script.waiting.clear()
            process = start(*command)
            assert script.waiting.wait(timeout=120)
            os.kill(process.pid, signal.SIGKILL)
            outputs.append(process.communicate()[0])
            command = ("resume", job_of(tmp_path / "jobs"))
        paid = dict(script.paid)
        script.held = set()
        code, output = finish(start(*command))
    assert code == 0, output
    job = job_of(tmp_path / "jobs")
    assert (job / "artifact" / "tfcaf.py").read_text() == replayed
    assert len(paid) == 8
    assert script.paid == {**paid, "r2.review": 1}
    answered, unknown = booked(job)
    assert len(script.paid) <= answered <= sum(script.paid.values()) <= answered + unknown
    assert_no_key(job)
    assert not any(KEY in output for output in (*outputs, output))


def test_a_full_disk_and_a_second_run_in_the_directory_are_one_error_each(
    start, script, replayed, tmp_path
):
    """No file may grow beyond 12 kB for a while; then two processes resume at once."""
    with servers.Server(script) as url:
        process = start(*live(url, tmp_path / "jobs"))
        limits = resource.prlimit(process.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (12_000, limits[1]))
        code, output = finish(process)
        assert code == 2, output
        assert len(re.findall(r"cannot write .*: File too large\. Free space", output)) == 1
        assert "Traceback" not in output
        job = job_of(tmp_path / "jobs")
        script.held, _ = {"r2.review"}, script.waiting.clear()
        process = start("resume", job)
        assert script.waiting.wait(timeout=120)
        code, output = finish(start("resume", job))
        assert code == 2
        assert f"another process is running in {job / 'design'}" in output
        assert "Traceback" not in output
        process.kill()
        process.communicate()
        script.held = set()
        code, output = finish(start("resume", job))
        assert code == 0, output
    assert (job / "artifact" / "tfcaf.py").read_text() == replayed
    answered, unknown = booked(job)
    assert len(script.paid) <= answered <= sum(script.paid.values()) <= answered + unknown
    assert script.paid["r1.review"] == script.paid["r2c1"] == 1  # after the disk was full: once
