"""The command line: exit codes, and one line instead of a traceback for a person's mistake."""

import contextlib
import io
import os

import command_line
import pytest

from qllm_jax.cli import main

SUM = "import jax.numpy as jnp\n\ndef mix(agent_qs, state):\n    return jnp.sum(agent_qs)\n"
NEGATIVE = "import jax.numpy as jnp\n\ndef mix(q, s):\n    return q[0] - q[1]\n"
HOSTILE = "import os\n\ndef mix(q, s):\n    return q.sum()\n"


@pytest.fixture
def write(tmp_path):
    def writer(text: str) -> str:
        path = tmp_path / "function.py"
        path.write_text(text)
        return str(path)

    return writer


def test_translate_prints_the_source(write, capsys):
    assert main(["translate", write(SUM), "--agents", "2", "--state", "3"]) == 0
    assert "def tfcaf(agent_qs, state)" in capsys.readouterr().out


def test_translate_writes_the_source_to_a_file(write, tmp_path, capsys):
    output = tmp_path / "out.py"
    assert main(["translate", write(SUM), "--agents", "2", "--state", "3", "-o", str(output)]) == 0
    assert "def tfcaf" in output.read_text()
    assert capsys.readouterr().out == ""


def test_translate_reads_standard_input(monkeypatch, capsys):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(SUM.encode())))
    assert main(["translate", "-", "--agents", "2", "--state", "3"]) == 0
    assert "def tfcaf" in capsys.readouterr().out


def test_a_refusal_exits_1_and_names_its_rule(write, capsys):
    assert main(["translate", write(HOSTILE), "--agents", "2", "--state", "3"]) == 1
    assert "[import]" in capsys.readouterr().err


def test_verify_says_what_holds(write, capsys):
    assert main(["verify", write(SUM), "--agents", "2", "--state", "3", "--igm", "enforce"]) == 0
    assert "proved" in capsys.readouterr().out


def test_a_function_holds_on_a_terminal_as_in_a_pipe(write, tmp_path):
    """JAX prints programs in colour there, and only there: another text, but no other program."""
    ours, theirs = os.openpty()
    arguments = ("verify", write(SUM), "--agents", "2", "--state", "3")
    with os.fdopen(theirs, "w") as terminal:
        process = command_line.start(tmp_path / "cache", *arguments, stdout=terminal)
    said = []
    with contextlib.suppress(OSError):  # how a terminal ends
        while part := os.read(ours, 4096):
            said.append(part.decode())
    os.close(ours)
    assert process.wait(timeout=60) == 0, "".join(said)
    assert "determinism" in "".join(said)


def test_verify_exits_1_where_a_credit_is_negative(write, capsys):
    arguments = ["verify", write(NEGATIVE), "--agents", "2", "--state", "3", "--igm", "enforce"]
    assert main(arguments) == 1
    assert "igm" in capsys.readouterr().err.lower()


def test_a_negative_credit_is_repaired_on_request(write, capsys):
    path = write(NEGATIVE)
    arguments = [path, "--agents", "2", "--state", "3", "--repair", "softplus"]
    assert main(["verify", *arguments, "--igm", "enforce"]) == 0
    assert "proved" in capsys.readouterr().out
    assert main(["translate", *arguments]) == 0
    source = capsys.readouterr().out
    assert "softplus" in source
    assert source.startswith("import jax\n"), "what is printed must run by itself"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["translate", "missing.py", "--agents", "2", "--state", "3"], "could not be read"),
        (["verify", "missing.py"], "say what it is for"),
        (["verify", "missing.py", "--task", "mpe/simple_spred"], "'mpe/simple_spread'"),
        (["verify", "x.py", "--task", "matrix/climbing", "--agents", "3"], "has 2; leave it out"),
        (["train", "task=matrix/climing"], "'matrix/climbing'"),
        (["train", "mixer=qmx"], "'qmix'"),
        (["compare", "compare.mixers=[vnd]"], "'vdn'"),
        (["train", "learner.lrr=1"], "learner.lr"),
        (["train", "runner.num_env_steps=12345"], "would fit"),
        (["train", "mixer.artifact=nowhere"], "does not exist"),
        (["generate", "runner.output_dir=/dev/null/jobs"], "jobs/mpe/simple_spread/generate-"),
        (["report", "nowhere"], "holds no run directory"),
        (["tasks", "show"], "name the task"),
        (["tasks", "list", "mpe/simple_spread"], "qllm-jax tasks show mpe/simple_spread"),
        (["train", "agent=cnn", "task=matrix/climbing"], "agent=cnn needs observations"),
        (["compare", "mixer.name=qmx"], "'qmix'"),
        (["sweep", "learner.name=dqm", "sweep.lr=[1e-3]"], "'dqn'"),
    ],
)
def test_a_mistake_is_one_line_and_exits_2(arguments, expected, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert expected in error
    assert "Traceback" not in error
    assert not list(tmp_path.iterdir()), "a refused command must leave nothing behind"


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"def f(agent_qs, state):\n    return agent_qs.sum(-1)  # \xff\n", "Save it as UTF-8"),
        (SUM.encode("utf-16"), "Save it as UTF-8"),
        (None, "standard input could not be read: it is closed"),
    ],
)
def test_standard_input_that_cannot_be_read_exits_2(data, expected, monkeypatch, capsys):
    stdin = None if data is None else io.TextIOWrapper(io.BytesIO(data), encoding="utf-8")
    monkeypatch.setattr("sys.stdin", stdin)
    assert main(["translate", "-", "--agents", "2", "--state", "3"]) == 2
    assert expected in capsys.readouterr().err


def test_a_file_without_end_is_refused(capsys):
    assert main(["translate", "/dev/zero", "--agents", "2", "--state", "3"]) == 1
    assert "[too-long]" in capsys.readouterr().err


def test_what_a_terminal_cannot_show_is_escaped(write, monkeypatch):
    shown = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr("sys.stdout", shown)
    path = write(SUM.replace("    return", "    # \u03c0\n    return"))
    assert main(["translate", path, "--agents", "2", "--state", "3"]) == 0
    shown.flush()
    assert b"\\u03c0" in shown.buffer.getvalue()


def test_sizes_beyond_any_task_exit_2(write, capsys):
    assert main(["verify", write(SUM), "--agents", "2", "--state", "999999999"]) == 2
    assert "1,000,000,001 numbers" in capsys.readouterr().err


def test_misuse_of_a_flag_exits_2(capsys):
    with pytest.raises(SystemExit) as caught:
        main(["translate", "x.py", "--agents", "0", "--state", "3"])
    assert caught.value.code == 2
    assert "not a positive whole number" in capsys.readouterr().err


def test_a_report_is_written_in_one_format(capsys):
    with pytest.raises(SystemExit) as caught:
        main(["report", "runs", "-o", "r.html", "--marl-eval", "m.json"])
    assert caught.value.code == 2
    assert "not allowed with" in capsys.readouterr().err


def test_tasks_lists_and_shows(capsys):
    assert main(["tasks"]) == 0
    assert "mpe/simple_spread" in capsys.readouterr().out
    assert main(["tasks", "show", "matrix/climbing"]) == 0
    assert "|" in capsys.readouterr().out, "the layout table is part of what a coder is told"
