"""The journal: nothing is done twice, nothing finished is lost."""

import json
import resource
import subprocess
import sys

import pytest

from qllm_jax.errors import UserError
from qllm_jax.synthesis.journal import Journal

IDENTITY = {"task": "t", "settings": {"k": 3}}


def test_a_finished_step_is_not_done_again(tmp_path):
    journal = Journal(tmp_path, IDENTITY)
    assert journal.step("a", lambda: {"x": [1.5, "ü\u2028"]}) == {"x": [1.5, "ü\u2028"]}
    journal.close()
    again = Journal(tmp_path, IDENTITY)
    assert again.holds("a")
    assert again.step("a", lambda: pytest.fail("done twice")) == {"x": [1.5, "ü\u2028"]}
    again.close()


def test_a_step_that_fails_is_not_recorded(tmp_path):
    journal = Journal(tmp_path, IDENTITY)
    with pytest.raises(ZeroDivisionError):
        journal.step("a", lambda: 1 / 0)
    assert not journal.holds("a")
    assert journal.step("a", lambda: 2) == 2
    journal.close()


def test_a_line_cut_off_by_a_kill_is_dropped(tmp_path):
    journal = Journal(tmp_path, IDENTITY)
    journal.record("a", 1)
    journal.record("b", 2)
    journal.close()
    whole = journal.path.read_bytes()
    journal.path.write_bytes(whole[:-4])
    again = Journal(tmp_path, IDENTITY)
    assert again.holds("a")
    assert not again.holds("b")
    again.record("b", 2)
    again.close()
    lines = journal.path.read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == ["start", "a", "b"]


def test_two_runs_in_one_directory_are_refused(tmp_path):
    journal = Journal(tmp_path, IDENTITY)
    with pytest.raises(UserError, match="another process is running"):
        Journal(tmp_path, IDENTITY)
    journal.close()
    Journal(tmp_path, IDENTITY).close()


def test_a_killed_process_leaves_no_lock(tmp_path):
    code = (
        "import sys, os, pathlib\n"
        "from qllm_jax.synthesis.journal import Journal\n"
        f"journal = Journal(pathlib.Path(sys.argv[1]), {IDENTITY!r})\n"
        "journal.record('a', 1)\n"
        "os.kill(os.getpid(), 9)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False)
    assert done.returncode == -9
    journal = Journal(tmp_path, IDENTITY)
    assert journal.holds("a")
    journal.close()


def test_other_settings_are_another_run(tmp_path):
    Journal(tmp_path, IDENTITY).close()
    with pytest.raises(UserError, match=r"\(settings\.k: 3 → 4\)"):
        Journal(tmp_path, {"task": "t", "settings": {"k": 4}})
    Journal(tmp_path, IDENTITY).close()  # the failure let go of the lock


def test_an_edited_journal_names_the_line(tmp_path):
    journal = Journal(tmp_path, IDENTITY)
    journal.close()
    journal.path.write_text(journal.path.read_text() + "not an event\n")
    with pytest.raises(UserError, match="line 2"):
        Journal(tmp_path, IDENTITY)


def test_a_path_that_cannot_be_a_directory(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write"):
        Journal(tmp_path / "file" / "run", IDENTITY)


def test_a_journal_of_bytes_that_are_no_text_names_the_line(tmp_path):
    Journal(tmp_path, IDENTITY).close()
    path = tmp_path / "journal.jsonl"
    path.write_bytes(path.read_bytes() + b"\xff\xfe\n")
    with pytest.raises(UserError, match="line 2"):
        Journal(tmp_path, IDENTITY)


def test_a_half_written_event_is_taken_back(tmp_path):
    """Ten bytes fit: the event after it, when there is room again, has a line of its own."""
    journal = Journal(tmp_path, IDENTITY)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (journal.path.stat().st_size + 10, hard))
    try:
        with pytest.raises(UserError, match=r"cannot write.*too large.*resumes"):
            journal.record("a", 1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    journal.record("b", 2)
    journal.close()
    again = Journal(tmp_path, IDENTITY)
    assert again.holds("b")
    assert not again.holds("a")
    again.close()


def test_a_full_disk_is_one_clear_error(tmp_path):
    """`/dev/full` accepts an open and fails every write, as a full disk does."""
    journal = Journal(tmp_path, IDENTITY)
    journal.record("a", 1)
    journal._file.close()
    journal._file = open("/dev/full", "ab", buffering=0)  # noqa: SIM115
    with pytest.raises(UserError, match=r"cannot write.*No space left.*resumes"):
        journal.record("b", 2)
    journal.close()
    again = Journal(tmp_path, IDENTITY)
    assert again.holds("a")
    assert not again.holds("b")
    again.close()
