"""The child: its limits, its death, and what the parent does about it."""

import os
import sys
import time

import numpy as np
import pytest

from qllm_jax.tfcaf.load import compile_source
from qllm_jax.verify import verify
from qllm_jax.verify.pool import Worker, WorkerError, WorkerPool, WorkerStopped
from qllm_jax.verify.worker import LENGTH_BYTES, frame_length, pack, unpack

_IMPORTS = "import jax\nimport jax.numpy as jnp\n"


def _request(body: str) -> tuple[dict, dict]:
    header = {
        "kind": "measure", "source": f"{_IMPORTS}def tfcaf(agent_qs, state):\n{body}",
        "num_agents": 2, "state_dim": 1, "rows": 4, "single": [0], "check_indices": False,
    }  # fmt: skip
    return header, {"agent_qs": np.ones((4, 2), np.float32), "states": np.ones((4, 1), np.float32)}


def _gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def test_the_environment_has_no_keys_and_the_limits_hold(monkeypatch):
    monkeypatch.setenv("SOME_API_KEY", "secret")
    worker = Worker()
    try:
        facts, _ = worker.ask({"kind": "facts"}, {}, 30)
    finally:
        worker.close()
    assert "secret" not in facts["environment"].values()
    assert not [name for name in facts["environment"] if "KEY" in name or "TOKEN" in name]
    assert facts["environment"]["HOME"] == facts["directory"] == worker.directory
    assert facts["limits"]["FSIZE"] == facts["limits"]["CORE"] == 0
    assert facts["limits"]["NOFILE"] == 64
    assert 2 << 30 <= facts["limits"]["AS"] < 8 << 30
    assert facts["limits"]["NPROC"] > 0
    assert not os.path.exists(worker.directory)
    assert _gone(worker.pid)


@pytest.mark.parametrize("body", [
    "    while True:\n        pass",
    "    return jnp.sum(agent_qs) + sum(0.0 for _ in range(10**12))",
])  # fmt: skip
def test_a_hanging_child_is_killed_within_its_limit(body):
    worker = Worker()
    worker.wait_ready()
    started = time.monotonic()
    with pytest.raises(WorkerStopped) as stopped:
        worker.ask(*_request(body), timeout_s=1.5)
    assert stopped.value.timed_out
    assert time.monotonic() - started < 5
    assert _gone(worker.pid)


@pytest.mark.parametrize("body", [
    "    return jnp.sum(agent_qs) * jnp.sum(jax.lax.sort(jnp.ones((10**5, 10**5)) * state[0]))",
    "    return jnp.sum(agent_qs) * len([0] * 10**10)",
])  # fmt: skip
def test_a_memory_hog_is_refused_cleanly(body, warm_pool):
    pool = WorkerPool()
    try:
        outcome = ""
        try:
            answer, _ = pool.ask(*_request(body), timeout_s=60)
            outcome = answer.get("error", "finished")
        except WorkerStopped as stopped:
            outcome = "timed out" if stopped.timed_out else "ended"
        assert outcome not in ("finished", "timed out")
        good, arrays = pool.ask(*_request("    return jnp.sum(agent_qs)"), timeout_s=60)
        assert "error" not in good
        np.testing.assert_array_equal(arrays["values"], 2.0)
    finally:
        pool.close()


def test_a_child_that_died_is_replaced():
    pool = WorkerPool()
    try:
        pool.warm_up()
        first = pool._worker
        os.kill(first.pid, 9)
        first._process.wait()
        _, arrays = pool.ask(*_request("    return jnp.sum(agent_qs)"), timeout_s=60)
        np.testing.assert_array_equal(arrays["credits"], 1.0)
        assert pool._worker.pid != first.pid
        assert not os.path.exists(first.directory)
    finally:
        pool.close()


def test_a_timeout_is_a_failed_check_and_the_next_function_is_verified(written):
    pool = WorkerPool()
    try:
        pool.warm_up()
        slow = verify(written("return jnp.sum(agent_qs)"), pool=pool, timeout_s=1e-4)
        assert [c.name for c in slow.checks if not c.passed] == ["execution"]
        assert "0.0001 s" in slow.feedback()
        assert verify(written("return jnp.sum(agent_qs)"), pool=pool).passed
    finally:
        pool.close()


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (["/no/such/interpreter"], "could not be started"),
        ([sys.executable, "-c", "raise SystemExit('no module named jax')"], "no module named jax"),
        ([sys.executable, "-c", "print('chatter ' * 99)"], "did not get ready"),
    ],
)
def test_a_child_that_cannot_start_is_an_error_that_says_so(command, said):
    with pytest.raises(WorkerError, match=said):
        Worker(command=command).wait_ready(10)


def test_a_child_that_never_answers_is_given_up():
    worker = Worker(command=[sys.executable, "-c", "import time; time.sleep(60)"])
    started = time.monotonic()
    with pytest.raises(WorkerError, match="did not get ready"):
        worker.wait_ready(1.0)
    assert time.monotonic() - started < 5
    assert _gone(worker.pid)


def test_frames_hold_arrays_and_refuse_objects_and_floods():
    frame = pack({"a": [1, "x"]}, {"b": np.arange(3)})
    assert frame_length(frame[:LENGTH_BYTES]) == len(frame) - LENGTH_BYTES
    header, arrays = unpack(frame[LENGTH_BYTES:])
    assert header == {"a": [1, "x"]}
    np.testing.assert_array_equal(arrays["b"], [0, 1, 2])
    with pytest.raises(ValueError, match="allow_pickle"):
        unpack(pack({}, {"b": np.array([object()], dtype=object)})[LENGTH_BYTES:])
    with pytest.raises(ValueError, match="at most"):
        frame_length(b"\xff" * LENGTH_BYTES)


@pytest.mark.parametrize(
    "line",
    [
        "import os",
        "import numpy",
        "import jax.experimental",
        "import jax as j",
        "from jax import debug",
        "from . import x",
        "open('x')",
        "eval('1')",
        "__import__('os')",
        "getattr(1, 'real')",
        "globals()",
        "if True:\n    import jax",
    ],
)
def test_emitted_source_reaches_nothing_but_jax(line):
    with pytest.raises((ImportError, NameError)):
        compile_source(f"{_IMPORTS}{line}\ndef tfcaf(agent_qs, state):\n    return agent_qs[0]\n")


def test_source_without_the_function_is_refused():
    with pytest.raises(ValueError, match="tfcaf"):
        compile_source(f"{_IMPORTS}def other(agent_qs, state):\n    return agent_qs[0]\n")
