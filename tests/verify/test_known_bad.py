"""For every check a function that fails it and no other required one; and functions that pass."""

import dataclasses

import numpy as np
import pytest

from qllm_jax.verify import verify
from qllm_jax.verify.igm import analyse, igm_check
from qllm_jax.verify.measurement import Measurement
from qllm_jax.verify.numeric import row_check
from qllm_jax.verify.points import make_points
from qllm_jax.verify.report import Check, VerificationReport, shown_input
from qllm_jax.verify.worker import trace

_POSITIONS = "p = state[:6].reshape(3, 2)\n"
_GOOD = _POSITIONS + (
    "w = jax.nn.softmax(-jnp.sum(p * p, axis=1))\n"
    "total = jnp.sum(w * agent_qs)\n"
)  # fmt: skip
_FLAT_ROOT = "return total + jnp.sqrt(jnp.where({where}, 0.0 * agent_qs[0], 1.0))"

# (check, body); all but the named check must hold under igm=enforce
_REQUIRED = [
    ("traceable", "if state[0] > 0:\n    return jnp.sum(agent_qs)\nreturn agent_qs[0]"),
    ("traceable", "return jnp.sum(agent_qs + state)"),
    ("traceable", "return jnp.does_not_exist(agent_qs)"),
    ("output-shape", "return 2.0 * agent_qs"),
    ("output-shape", "return jnp.sum(agent_qs, keepdims=True)"),
    ("output-shape", "return jnp.sum(agent_qs), state[0]"),
    ("output-dtype", "return jnp.sum(agent_qs).astype(jnp.int32)"),
    ("output-dtype", "return jnp.sum(agent_qs).astype(jnp.float16)"),
    ("primitives", "return jnp.sum(agent_qs * jax.random.uniform(jax.random.key(0), (3,)))"),
    ("primitives", 'jax.debug.print("{x}", x=state)\nreturn jnp.sum(agent_qs)'),
    (
        "primitives",
        "w = jax.lax.while_loop(lambda x: x[0] < 1.0, lambda x: x + 1.0, state)\n"
        "return jnp.sum(agent_qs) + jax.lax.stop_gradient(w[0])",
    ),
    ("primitives", "return jnp.sum(jnp.linalg.pinv(jnp.eye(3) + 0.0 * state[0]) @ agent_qs)"),
    ("primitives", "return jnp.sum(agent_qs) + jnp.abs(jnp.fft.fft(state))[0]"),
    (
        "primitives",
        "shape = jax.ShapeDtypeStruct((), jnp.float32)\n"
        "w = jax.pure_callback(lambda x: x, shape, state[0])\n"
        "return jnp.sum(agent_qs) + jax.lax.stop_gradient(w)",
    ),
    ("size", "x = agent_qs\nfor i in range(1100):\n    x = jnp.sin(x) + 1.0\nreturn jnp.sum(x)"),
    ("size", "return jnp.sum(agent_qs) + jnp.sum(jnp.ones((10**6, 10**6)) * state[0])"),
    (
        "size",
        "m = jnp.outer(jnp.repeat(state, 30), jnp.repeat(state, 30))\n"
        "for i in range(5):\n    m = jnp.tanh(m @ m)\nreturn jnp.sum(agent_qs) * jnp.mean(m)",
    ),
    ("size", "return jax.lax.fori_loop(0, 100000, lambda i, x: x, jnp.sum(agent_qs))"),
    (
        "execution",  # only its second trace fails
        "import jax\nimport jax.numpy as jnp\n\n\ndef tfcaf(agent_qs, state, calls=[]):\n"
        "    calls.append(1)\n    w = jax.nn.softmax(state[:3])\n"
        "    return jnp.sum(w * agent_qs) + [0.0][len(calls) - 1]\n",
    ),
    ("finite-value", _GOOD + "return total + jnp.where(state[0] == 0.7, jnp.inf, 0.0)"),
    ("finite-credit", _GOOD + _FLAT_ROOT.format(where="state[0] == 0.7")),
    ("finite-value-edge", _GOOD + "return total + jnp.where(state[0] == 0.9, jnp.nan, 0.0)"),
    ("finite-credit-edge", _GOOD + _FLAT_ROOT.format(where="state[0] == 0.9")),
    (
        "finite-value-zeros",
        _GOOD + "return total + jnp.where(jnp.all(state == 0), jnp.inf, 0.0)",
    ),
    ("finite-credit-zeros", _GOOD + _FLAT_ROOT.format(where="jnp.all(state == 0)")),
    (
        "finite-value-large",
        _GOOD + "return total + jnp.where(jnp.max(agent_qs) > 400.0, jnp.inf, 0.0)",
    ),
    ("finite-credit-large", _GOOD + _FLAT_ROOT.format(where="jnp.max(agent_qs) > 400.0")),
    ("index-range", _GOOD + "return total + agent_qs[jnp.where(state[0] == 0.7, 3, 0)]"),
    (
        "index-range",
        _GOOD + "i = jnp.where(state[0] == 0.7, 3, 0)\nreturn jnp.sum(w.at[i].add(1.0) * agent_qs)",
    ),
    (
        "determinism",  # a set of strings has another order in every process
        _GOOD + "names = {'a' * k for k in range(1, 9)}\n"
        "order = sum([len(name) * 9 ** i for i, name in enumerate(names)])\n"
        "return total * (1.0 + order / 9 ** 8)",
    ),
    (
        "agreement",  # the first trace is the vmapped one
        "import jax\nimport jax.numpy as jnp\n\n\ndef tfcaf(agent_qs, state, calls=[]):\n"
        "    calls.append(1)\n    w = jax.nn.softmax(state[:3])\n"
        "    return jnp.sum(w * agent_qs) * min(len(calls), 2)\n",
    ),
    ("every-agent-credited", _GOOD + "return total - w[1] * agent_qs[1]"),
    ("every-agent-credited", "return agent_qs[0] + agent_qs[1] * jnp.exp(state[0])"),
    ("credit-scale", _GOOD + "return 1e-4 * total"),
    ("credit-scale", _GOOD + "return 1e4 * total"),
    ("igm", _GOOD + "return total - 0.9 * w[1] * agent_qs[1] - 0.9 * w[1] * agent_qs[0]"),
    ("igm", "return jnp.sum(state[:3] * agent_qs) + jnp.sum(agent_qs)"),
    ("igm", _GOOD + "return total - 5.0 * (agent_qs[0] > 0.5)"),
    ("igm", _GOOD + "return total - 2.0 * jax.lax.stop_gradient(total)"),
    ("igm", _GOOD + "return total - 0.9 * jnp.floor(agent_qs[1])"),
    ("igm", "return jnp.sum(agent_qs) - 0.005 * jnp.var(agent_qs) + state[0]"),  # of large values
    (
        "igm",  # of equal values, where all count as the largest
        "largest = jnp.where(agent_qs >= jnp.max(agent_qs), 1.5, 0.5)\n"
        "return jnp.sum(agent_qs * largest) + state[0]",
    ),
]  # fmt: skip

# (check, body): found and reported, but no reason to refuse
_REPORTED = [
    ("constant-credit", "return jnp.sum(agent_qs) + state[0]"),
    ("constant-credit", "return jnp.sum(jnp.array([0.5, 1.0, 2.0]) * agent_qs) + state[0]"),
    ("state-used", "return jnp.sum(agent_qs * jnp.array([1.0, 2.0, 3.0]))"),
    ("offset", _GOOD + "return total + 1e4 * jnp.sum(p * p)"),
    ("equivariance", "return jnp.sum(jax.nn.softmax(state[:3]) * agent_qs)"),
]


def _failed(report, required=True):
    return {c.name for c in report.checks if not c.passed and c.required == required}


@pytest.mark.parametrize(("name", "body"), _REQUIRED)
def test_fails_this_check_and_no_other_required_one(name, body, written, toy_task, toy_states):
    report = verify(written(body), states=toy_states, task=toy_task, igm="enforce")
    assert _failed(report) == {name}
    assert not report.passed
    (check,) = [c for c in report.checks if c.name == name]
    assert check.detail in report.feedback()
    assert check.detail.endswith(".")
    later = ("finite", "index", "every", "credit-scale", "igm")
    if name.startswith(later):
        assert len(check.failing_input["agent_qs"]) == 3
        assert len(check.failing_input["state"]) == 9


@pytest.mark.parametrize(("name", "body"), _REPORTED)
def test_reports_without_refusing(name, body, written, toy_task, toy_states):
    report = verify(written(body), states=toy_states, task=toy_task, igm="enforce")
    assert report.passed, report.feedback()
    assert name in _failed(report, required=False)


_GOOD_BODIES = {
    "softmax-of-distance": _GOOD + "return total",
    "inverse-distance": _POSITIONS + "d = jnp.sqrt(jnp.sum(p * p, axis=1) + 1e-6)\n"
    "w = 1.0 / (1.0 + d)\nreturn jnp.sum(w / jnp.sum(w) * agent_qs)",
    "alive-only": "alive = state[6:]\nw = alive / jnp.maximum(jnp.sum(alive), 1.0) + 0.01\n"
    "return jnp.sum(w * agent_qs)",
    "distance-and-offset": _POSITIONS + "d = jnp.sum(jnp.abs(p[:, None] - p[None]), axis=(1, 2))\n"
    "w = 3.0 * jax.nn.softmax(-d)\nreturn jnp.sum(w * agent_qs) - 0.1 * jnp.sum(d)",
    "loop": "total = 0.0\nfor i in range(3):\n"
    "    total = total + agent_qs[i] * jnp.exp(-state[2 * i] ** 2)\nreturn total",
    "monotone-network": "h = jax.nn.elu(agent_qs @ jnp.abs(jnp.outer(state[:3], state[3:6])))\n"
    "return jnp.sum(h * jax.nn.softplus(state[:3])) + jnp.mean(agent_qs)",
    "closest-agent": _POSITIONS + "i = jnp.argmin(jnp.sum(p * p, axis=1))\n"
    "return jnp.sum(jnp.full(3, 0.5).at[i].set(1.5) * agent_qs)",
    "ranks": "r = jnp.argsort(jnp.argsort(state[:6:2]))\n"
    "return jnp.sum(agent_qs / (1.0 + r)) + state[1]",
    "fori": "w = jax.nn.sigmoid(state[:6:2])\n"
    "return jax.lax.fori_loop(0, 3, lambda i, x: x + w[i] * agent_qs[i], 0.0)",
    "cond": "return jax.lax.cond(state[6] > 0.5, lambda: jnp.sum(agent_qs), "
    "lambda: jnp.sum(agent_qs * jax.nn.softmax(state[:3])))",
    "vmapped": _POSITIONS + "w = jax.vmap(lambda x: jnp.exp(-jnp.sum(x * x)))(p)\n"
    "return w @ agent_qs + 0.1 * jnp.sum(agent_qs)",
    "clipped-gather": "i = jnp.clip(jnp.floor(jnp.abs(state[0])), 0, 2).astype(jnp.int32)\n"
    "return jnp.sum(agent_qs) + agent_qs[i]",
    "flag-index": "i = state[6].astype(jnp.int32)\nreturn jnp.sum(agent_qs) + agent_qs[i]",
    "smooth-max": "return jax.scipy.special.logsumexp(agent_qs + state[:6:2])",
}


@pytest.mark.parametrize("body", _GOOD_BODIES.values(), ids=_GOOD_BODIES.keys())
def test_good_functions_pass(body, written, toy_task, toy_states):
    report = verify(written(body), states=toy_states, task=toy_task, igm="enforce")
    assert report.passed, report.feedback()
    assert report.igm == "proved"


def test_reference_is_compared_row_by_row(written, toy_task, toy_states):
    body = _GOOD + "return total"

    def right(agent_qs, states):
        p = states[:, :6].reshape(-1, 3, 2).astype(np.float64)
        w = np.exp(-(p * p).sum(2))
        return (w / w.sum(1, keepdims=True) * agent_qs).sum(1)

    def leaks(agent_qs, states):  # the batch's mean takes part, as in a wrongly reduced softmax
        return right(agent_qs, states) + 1e-3 * agent_qs.mean()

    options = {"states": toy_states, "task": toy_task}
    assert verify(written(body), reference=right, **options).passed
    report = verify(written(body), reference=leaks, **options)
    assert _failed(report) == {"reference"}


def test_a_leak_between_rows_is_seen():
    """No pure function leaks under vmap; the comparison itself is shown on numbers."""
    points = make_points(3, 9)
    count = len(points.agent_qs)
    values, credits = points.agent_qs.sum(1), np.ones((count, 3), np.float32)
    moved = values[:8].copy()
    moved[4] = np.nan  # the row that was replaced
    clean = Measurement(
        values, credits, values[:8], credits[:8], moved, credits[:8], values[:1], credits[:1],
        values[:1], single=(0,), beside=4, same_program=True,
    )  # fmt: skip
    assert row_check(points, clean).passed
    leaked = dataclasses.replace(clean, beside_values=moved + 0.5)
    check = row_check(points, leaked)
    assert not check.passed
    assert check.failing_input is not None
    spoiled = dataclasses.replace(clean, beside_values=np.full(8, np.nan, np.float32))
    assert not row_check(points, spoiled).passed


def test_a_negative_credit_outweighs_a_proof(written):
    """Task ranges may be wrong; what was measured is believed."""
    points = make_points(3, 9)
    _, both = trace(written("return jnp.sum(agent_qs)").source, 3, 9)
    count = len(points.agent_qs)
    values, credits = points.agent_qs.sum(1), np.ones((count, 3), np.float32)
    credits[7, 1] = -0.5
    measured = Measurement(
        values, credits, values[:8], credits[:8], values[:8], credits[:8], values[:1], credits[:1],
        values[:1], single=(0,), beside=4, same_program=True,
    )  # fmt: skip
    check, statement = igm_check(points, measured, analyse(both), "enforce")
    assert (check.passed, statement) == (False, "violated")
    assert "agent 1" in check.detail


def test_a_failing_picture_is_shown_by_what_stands_in_it():
    state = [0.0] * 3000
    state[7], state[2999] = 1.0, -0.25
    given = {"agent_qs": [0.5, -1.0], "state": state}
    failed = [Check(name, False, "it is bad.", failing_input=given) for name in ("a", "b")]
    text = VerificationReport(tuple(failed), "not checked", 0.0).feedback()
    assert text.splitlines() == [
        "- a: it is bad.",
        "  failing input: agent_qs = [0.5, -1]; "
        "state = 3000 numbers, 0 but for [7] = 1, [2999] = -0.25",
        "- b: it is bad.",
        "  failing input: the same",
    ]
    dense = shown_input({"state": [1.0] * 3000})
    assert "of which 3000 are not 0" in dense
    assert len(dense) < 2000
