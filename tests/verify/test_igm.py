"""Proofs of credit >= 0: what must be proved, what must not, and that bounds are bounds."""

import random

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from qllm_jax.verify.abstract import Interpreter
from qllm_jax.verify.igm import analyse
from qllm_jax.verify.intervals import make_value
from qllm_jax.verify.worker import trace

_PROVED = {
    "sum": "return jnp.sum(agent_qs)",
    "softmax": "return jnp.sum(jax.nn.softmax(state[:3]) * agent_qs)",
    "softmax-by-hand": "e = jnp.exp(state[:3] - jnp.max(state[:3]))\n"
    "return jnp.sum(e / jnp.sum(e) * agent_qs)",
    "one-minus-softmax": "return jnp.sum((1.0 - jax.nn.softmax(state[:3])) * agent_qs)",
    "one-minus-share": "d = jnp.abs(state[:3])\n"
    "return jnp.sum((1.0 - d / (jnp.sum(d) + 1e-6)) * agent_qs)",
    "one-minus-of-largest": "d = jnp.sqrt(state[:3] ** 2 + 1e-6)\n"
    "return jnp.sum((1.0 - d / jnp.max(d)) * agent_qs)",
    "share-with-safe-divisor": "d = jax.nn.relu(state[:3])\nt = jnp.sum(d)\n"
    "return jnp.sum((1.0 - d / jnp.where(t > 0, t, 1.0)) * agent_qs)",
    "below-the-largest": "x = state[:3]\nreturn jnp.sum((jnp.max(x) - x) * agent_qs)",
    "scaled-to-unit": "x = state[:3]\nw = (x - jnp.min(x)) / (jnp.max(x) - jnp.min(x) + 1e-6)\n"
    "return jnp.sum(w * agent_qs)",
    "relu": "return jnp.sum(jax.nn.relu(state[:3]) * agent_qs)",
    "translated-clamp": "w = state[:3]\nw = jnp.where(w < 0.1, 0.1, w)\n"
    "w = jnp.where(w > 5.0, 5.0, w)\nreturn jnp.sum(w * agent_qs)",
    "translated-abs": "x = state[:3]\n"
    "return jnp.sum(x * jax.lax.stop_gradient(jnp.sign(x)) * agent_qs)",
    "softplus": "return jnp.sum(jax.nn.softplus(state[:3]) * agent_qs)",
    "gaussian": "return jnp.sum(jnp.exp(-state[:3] ** 2) * agent_qs)",
    "sigmoid-of-tanh": "return jnp.sum((1.0 + jnp.tanh(state[:3])) * agent_qs)",
    "one-hot": "w = jax.nn.one_hot(jnp.argmax(state[:3]), 3)\nreturn jnp.sum((w + 0.5) * agent_qs)",
    "ranks": "return jnp.sum(agent_qs / (1.0 + jnp.argsort(jnp.argsort(state[:3]))))",
    "vmapped": "w = jax.vmap(lambda x: jnp.sum(x * x))(state[:6].reshape(3, 2))\n"
    "return w @ agent_qs",
    "pairwise": "p = state[:6].reshape(3, 2)\n"
    "d = jnp.sqrt(jnp.sum((p[:, None] - p[None]) ** 2, -1) + 1e-6)\n"
    "return jnp.sum(1.0 / (1.0 + jnp.min(d, axis=1)) * agent_qs)",
    "scan": "w = jax.nn.sigmoid(state[:3])\n"
    "return jax.lax.fori_loop(0, 3, lambda i, t: t + w[i] * agent_qs[i], 0.0)",
    "cond": "return jax.lax.cond(state[0] > 0, lambda: jnp.sum(agent_qs), "
    "lambda: jnp.sum(agent_qs * jax.nn.softmax(state[:3])))",
    "elu-network": "h = jax.nn.elu(agent_qs @ jnp.abs(state.reshape(3, 3)))\n"
    "return jnp.sum(jnp.abs(state[:3]) * h)",
    "tanh-of-values": "return jnp.sum(jnp.exp(state[:3]) * jnp.tanh(agent_qs))",
    "log-sum-exp": "return jax.scipy.special.logsumexp(agent_qs)",
    "largest-and-smallest": "return jnp.max(agent_qs) + jnp.min(agent_qs) + jnp.sort(agent_qs)[1]",
    "log-sum-exp-by-hand": "m = jax.lax.stop_gradient(jnp.max(agent_qs))\n"
    "return jnp.log(jnp.sum(jnp.exp(agent_qs - m))) + m",
    "clipped-and-leaky": "x = jnp.clip(agent_qs, -1.0, state[0] ** 2)\n"
    "return jnp.sum(jax.nn.leaky_relu(x))",
    "translated-clamp-of-values": "x = jnp.where(agent_qs < -1.0, -1.0, agent_qs)\n"
    "return jnp.sum(jnp.where(x > 1.0, 1.0, x))",
    "leaky-by-hand": "return jnp.sum(jnp.where(agent_qs > 0, agent_qs, 0.5 * agent_qs))",
    "guarded-nan": "w = jnp.nan_to_num(state[:3] / state[3:6])\n"
    "return jnp.sum(jnp.abs(w) * agent_qs)",
    "translated-clamp-of-a-ratio": "w = state[:3] / state[3:6]\nw = jnp.where(w < 0.1, 0.1, w)\n"
    "return jnp.sum(w * agent_qs)",
    "scatter": "w = jnp.zeros(3).at[jnp.argmin(state[:3])].add(2.0)\nreturn jnp.sum(w * agent_qs)",
}  # fmt: skip
_NOT_PROVED = {
    "linear": "return jnp.sum(state[:3] * agent_qs)",
    "one-negative": "return jnp.sum(agent_qs) - 2.0 * agent_qs[1]",
    "attention-on-values": "return jnp.sum(jax.nn.softmax(agent_qs) * agent_qs)",
    "variance-penalty": "return jnp.sum(agent_qs) - jnp.var(agent_qs)",
    "centred": "x = state[:3]\nreturn jnp.sum((x - jnp.mean(x)) * agent_qs)",
    "one-minus-distance": "return jnp.sum((1.0 - jnp.abs(state[:3])) * agent_qs)",
    "one-minus-other-share": "d = jnp.abs(state[:3])\ne = jnp.abs(state[3:6])\n"
    "return jnp.sum((1.0 - d / (jnp.sum(e) + 1e-6)) * agent_qs)",
    "share-of-signed": "d = state[:3]\nreturn jnp.sum((1.0 - d / jnp.sum(d)) * agent_qs)",
    "shares-along-the-wrong-axis": "m = jnp.abs(state.reshape(3, 3))\n"
    "w = m / jnp.sum(m, axis=1)[None, :]\nreturn jnp.sum((1.0 - w[:, 0]) * agent_qs)",
    "rotated-largest": "m = state.reshape(3, 3)\n"
    "return jnp.sum((jnp.max(m, axis=1)[None, :] - m)[0] * agent_qs)",
    "sine": "return jnp.sum(jnp.sin(agent_qs)) + state[0]",
    "negative-abs": "return jnp.sum(-jnp.abs(state[:3]) * agent_qs)",
    "wrong-side-of-where": "w = state[:3]\nreturn jnp.sum(jnp.where(w < 0, w, 0.0) * agent_qs)",
    "where-of-another": "w = state[:3]\n"
    "return jnp.sum(jnp.where(state[3:6] > 0, w, 0.0) * agent_qs)",
    "integers-wrap": "i = state[:3].astype(jnp.int32)\nw = (i * i * i * i).astype(jnp.float32)\n"
    "return jnp.sum(w * agent_qs)",
    "round-away-from-zero": "w = 0.5 + jax.lax.round(jnp.clip(state[:3], -0.5, 0.5))\n"
    "return jnp.sum(w * agent_qs)",
    # credits of 1, or none below 0, and yet q_tot falls somewhere as a value rises
    "jump": "t = jnp.sum(agent_qs)\nreturn jnp.where(t > 0, t - 10.0, t)",
    "jump-of-a-branch": "return jax.lax.cond(agent_qs[0] > 0, lambda: jnp.sum(agent_qs) - 3.0, "
    "lambda: jnp.sum(agent_qs))",
    "jump-of-an-index": "t = jnp.array([5.0, 0.0])\n"
    "return jnp.sum(agent_qs) + t[(agent_qs[0] > 0).astype(jnp.int32)]",
    "jump-in-a-loop": "step = lambda i, x: x - jnp.floor(x * 0.01)\n"
    "return jax.lax.fori_loop(0, 100, step, jnp.sum(agent_qs))",
    "penalty-of-a-choice": "return jnp.sum(agent_qs) - 3.0 * jnp.argmax(agent_qs)",
    "rounded": "return jnp.sum(agent_qs) - 1.5 * jnp.sum(jnp.round(agent_qs))",
    "remainder": "return jnp.sum(agent_qs % 1.0)",
    "pole": "return -jnp.sum(1.0 / agent_qs)",
    "tangent": "return jnp.sum(jnp.tan(agent_qs))",
    "kink-beside-zero": "return jnp.sum(jnp.where(agent_qs > 1.0, agent_qs, 2.0 * agent_qs))",
    "clamped-beside-the-bound": "return jnp.sum(jnp.where(agent_qs < 1.0, 2.0, agent_qs))",
    "detached": "return jnp.sum(agent_qs) - 2.0 * jax.lax.stop_gradient(jnp.sum(agent_qs))",
    "detached-attention": "w = jax.lax.stop_gradient(jax.nn.softmax(agent_qs))\n"
    "return jnp.sum(w * agent_qs)",
    "shift-that-stays": "m = jax.lax.stop_gradient(jnp.max(agent_qs))\n"
    "return jnp.log(jnp.sum(jnp.exp(agent_qs - m))) - m",
    # NaN compares as false, whatever the bounds are
    "nan-is-asked-for": "x = jnp.sqrt(50.0 - state[:3])\n"
    "return jnp.sum(jnp.where(jnp.isnan(x), -1.0, 1.0) * agent_qs)",
    "nan-is-replaced": "x = jnp.log(50.0 - state[:3]) ** 2\n"
    "return jnp.sum(jnp.nan_to_num(x, nan=-1.0) * agent_qs)",
    "nan-is-not-at-least-zero": "x = jnp.sqrt(50.0 - state[:3])\n"
    "return jnp.sum(jnp.where(x >= 0, 1.0, -1.0) * agent_qs)",
    "nan-narrows-nothing": "x = -jnp.sqrt(state[:3] + 50.0)\n"
    "return jnp.sum((1.0 + jnp.where(x < state[3:6], 0.0, -state[3:6])) * agent_qs)",
    "nan-as-an-integer": "i = jnp.sqrt(50.0 - state[:3]).astype(jnp.int32)\n"
    "return jnp.sum(i * agent_qs)",
    "long-loop": "w = jax.lax.fori_loop(0, 500, lambda i, w: w - 1.0, jnp.ones(3))\n"
    "return jnp.sum(w * agent_qs)",
}  # fmt: skip


@pytest.mark.parametrize("body", _PROVED.values(), ids=_PROVED.keys())
def test_proved(body, written):
    _, both = trace(written(body).source, 3, 9)
    assert analyse(both).proof == "every state"


@pytest.mark.parametrize("body", _NOT_PROVED.values(), ids=_NOT_PROVED.keys())
def test_not_proved(body, written):
    _, both = trace(written(body).source, 3, 9)
    assert analyse(both).proof is None


@pytest.mark.parametrize(
    ("body", "affine", "uses_state"),
    [
        ("return jnp.sum(jax.nn.softmax(state[:3]) * agent_qs)", True, True),
        ("return jnp.sum(agent_qs)", True, False),
        ("return jnp.mean(agent_qs) + state[0]", True, True),
        ("return jnp.sum(jax.nn.relu(agent_qs))", False, False),
        ("return jnp.sum(agent_qs ** 2)", False, False),
        ("return jnp.where(jnp.sum(agent_qs) > 0, 2.0, 1.0) * jnp.sum(state)", False, True),
        ("return jnp.max(agent_qs)", False, False),
    ],
)
def test_dependence(body, affine, uses_state, written):
    _, both = trace(written(body).source, 3, 9)
    found = analyse(both)
    assert (found.affine, found.uses_state) == (affine, uses_state)


@pytest.mark.parametrize(
    ("body", "loose"),
    [
        ("return agent_qs[jnp.argmax(state)]", True),  # 0 to 8 into three agents
        ("return agent_qs[jnp.argmax(state[:3])]", False),
        ("return agent_qs[state[0].astype(jnp.int32)]", True),
        ("return agent_qs[jnp.clip(state[0], 0, 2).astype(jnp.int32)]", False),
        ("return jnp.sum(agent_qs[jnp.argsort(state[:3])])", False),
        ("return jnp.sum(jnp.ones(3).at[state[0].astype(jnp.int32)].add(1.0) * agent_qs)", True),
        ("return agent_qs[1]", False),
        ("return jnp.take(agent_qs, state[0].astype(jnp.int32), mode='clip')", False),
    ],
)
def test_indices_shown_inside(body, loose, written):
    _, both = trace(written(body).source, 3, 9)
    assert bool(analyse(both).loose_indices) == loose


# --- random programs: no bound is ever broken -----------------------------------------------

_UNARY = [
    jnp.abs, jnp.square, jax.nn.relu, jax.nn.sigmoid, jnp.tanh, jnp.negative, jnp.sign, jnp.sin,
    jnp.floor, jnp.ceil, jnp.round, jax.nn.softmax, jax.nn.softplus, jax.nn.elu, jnp.sort,
    jnp.cumsum, jnp.flip, jax.nn.log_softmax, jax.nn.gelu,
    lambda x: jnp.exp(-jnp.abs(x)), lambda x: jnp.log1p(jnp.abs(x)),
    lambda x: jnp.sqrt(jnp.abs(x) + 0.1), lambda x: 1.0 / (1.0 + jnp.abs(x)), lambda x: 1.0 - x,
    lambda x: x - jnp.max(x), lambda x: jnp.max(x) - x, lambda x: x - jnp.min(x),
    lambda x: x / (jnp.sum(jnp.abs(x)) + 0.1), lambda x: jnp.abs(x) / (jnp.sum(jnp.abs(x)) + 0.1),
    lambda x: x / (jnp.max(x) - jnp.min(x) + 0.1), lambda x: jnp.clip(x, -0.5, 2.0),
    lambda x: jnp.where(x > 0.2, x, 0.2), lambda x: jnp.where(x < 0, -x, x * x),
    lambda x: x[jnp.argsort(x)], lambda x: x * jax.lax.stop_gradient(jnp.sign(x)),
    lambda x: jnp.zeros(3).at[jnp.argmax(x)].set(x[0]), lambda x: x.at[1].add(x[2]),
    lambda x: jnp.pad(x[:2], (1, 0)), lambda x: jnp.roll(x, 1), lambda x: x ** 3,
    lambda x: x.astype(jnp.int32).astype(jnp.float32), lambda x: jnp.full(3, jnp.mean(x)),
    lambda x: (x[:, None] - x[None]).max(1), lambda x: jnp.outer(x, x).sum(0),
    lambda x: jax.lax.top_k(x, 3)[0], lambda x: jax.lax.fori_loop(0, 3, lambda i, t: t * x[i], x),
    lambda x: x % 1.5, lambda x: jnp.full(3, jnp.std(x + jnp.arange(3))),
    lambda x: jnp.full(3, jax.scipy.special.logsumexp(x)), lambda x: jnp.maximum(x, x[::-1]),
]  # fmt: skip
_BINARY = [
    jnp.add, jnp.subtract, jnp.multiply, jnp.maximum, jnp.minimum, jnp.logaddexp,
    lambda a, b: a / (jnp.abs(b) + 0.5), lambda a, b: jnp.where(a > b, a, b),
    lambda a, b: jnp.where(a < b, a, b), lambda a, b: jnp.where(a > 0, b, a),
    lambda a, b: jnp.where(a <= b, b - a, 0.0), lambda a, b: a * jax.nn.softmax(b),
    lambda a, b: jnp.outer(a, b) @ jnp.ones(3), lambda a, b: jnp.full(3, jnp.dot(a, b)),
    lambda a, b: jax.lax.cond(b[0] > a[0], lambda: a, lambda: b), jnp.arctan2,
    lambda a, b: jnp.clip(a, jnp.minimum(b, 0.0), jnp.abs(b)),
]  # fmt: skip


def _expression(rng: random.Random, depth: int, leaves):
    """A random `(agent_qs [3], state [3]) -> [3]`, as a tree of closures."""
    if depth == 0:
        return rng.choice(leaves)
    if rng.random() < 0.65:
        fn, inner = rng.choice(_UNARY), _expression(rng, depth - 1, leaves)
        return lambda q, s: fn(inner(q, s))
    fn = rng.choice(_BINARY)
    left, right = (_expression(rng, depth - 1, leaves) for _ in range(2))
    return lambda q, s: fn(left(q, s), right(q, s))


_STATE_LEAVES = [
    lambda q, s: s, lambda q, s: jnp.ones(3), lambda q, s: jnp.arange(3.0),
    lambda q, s: jnp.array([-1.0, 0.5, 2.0]),
]  # fmt: skip
_ALL_LEAVES = [*_STATE_LEAVES, lambda q, s: q, lambda q, s: q]


def _credited(seed: int):
    """A random q_tot: random weights of the state times random functions of the values."""
    rng = random.Random(seed)
    weights = _expression(rng, rng.randint(1, 3), _STATE_LEAVES)
    values = (lambda q, s: q) if rng.random() < 0.5 else _expression(rng, 2, _ALL_LEAVES)
    return lambda q, s: jnp.sum(weights(q, s) * values(q, s))


def _check_bounds(seed: int) -> bool:
    """Sampled values and credits lie within their bounds. Returns whether IGM was proved."""
    both = jax.make_jaxpr(jax.value_and_grad(_credited(seed)))(jnp.ones(3), jnp.ones(3))
    rng = np.random.default_rng(seed)
    shape = (64, 3)
    qs, states = (
        np.clip(rng.normal(size=shape) * rng.choice([0.3, 1, 3], (64, 1)), -3, 3).astype("f4")
        for _ in range(2)
    )
    qs[:4], states[:2], states[4:8] = 0.0, 0.0, np.round(states[4:8])
    box = [make_value(-3, 3, (3,), 1), make_value(-3, 3, (3,), 2)]
    value, credit = Interpreter().run(both, box)
    run = jax.jit(jax.vmap(lambda q, s: jax.core.eval_jaxpr(both.jaxpr, both.consts, q, s)))
    values, credits = (np.asarray(x, np.float64) for x in run(qs, states))
    for bound, sampled in ((value, values), (credit, credits)):
        for low, high, xs in zip(
            np.atleast_1d(bound.lo), np.atleast_1d(bound.hi), np.atleast_2d(sampled.T), strict=True
        ):
            xs = xs[np.isfinite(xs)]
            slack = 1e-3 + 1e-4 * np.abs(xs)
            assert (xs >= low - slack).all(), (seed, low, xs.min())
            assert (xs <= high + slack).all(), (seed, high, xs.max())
    proved = analyse(both).proof is not None
    finite = credits[np.isfinite(credits)]
    if proved and finite.size:
        assert finite.min() >= -1e-4 * (1 + np.abs(finite).max()), seed
        for agent in range(3):
            higher = qs.copy()
            higher[:, agent] += rng.uniform(0, 3, 64)
            change = np.asarray(run(higher, states)[0], np.float64) - values
            scale = 1 + np.abs(values) + np.abs(credits * qs).sum(1)
            assert np.nanmin(change / scale) >= -1e-4, seed
    return proved


def test_bounds_hold_for_random_programs():
    proved = sum(_check_bounds(seed) for seed in range(60))
    assert proved > 6  # the test would be empty if nothing were ever proved


@pytest.mark.nightly
def test_bounds_hold_for_many_random_programs():
    assert sum(_check_bounds(seed) for seed in range(1000, 3000)) > 200
