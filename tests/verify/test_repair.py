"""Repairs of IGM: the wrapper is proved, keeps what was right, and comes off again."""

import jax
import numpy as np
import pytest

from qllm_jax.errors import UserError
from qllm_jax.tfcaf.wrapper import repaired_source, unrepaired_source
from qllm_jax.verify import repair_igm, verify

_SIGNED = "w = state[:3] - 0.5  # as the author wrote it\nreturn jnp.sum(w * agent_qs) + state[3]"


@pytest.mark.parametrize(
    ("mode", "positive"),
    [("clip", lambda w: np.maximum(w, 0)), ("softplus", lambda w: np.log1p(np.exp(w)))],
)
def test_a_repair_is_proved_and_recorded(mode, positive, written):
    original = written(_SIGNED)
    assert not verify(original, igm="enforce").passed
    repaired = repair_igm(original, mode)
    report = verify(repaired, igm="enforce")
    assert report.passed, report.feedback()
    assert report.igm == "proved"
    assert "# as the author wrote it" in repaired.source
    assert any(f"igm-repair={mode}" in note for note in repaired.notes)
    assert (repaired.dialect, repaired.original) == (original.dialect, original.original)
    rng = np.random.default_rng(0)
    for _ in range(5):
        qs, state = (rng.normal(size=n).astype(np.float32) for n in (3, 9))
        value, credits = jax.value_and_grad(repaired.function)(qs, state)
        weights = positive(state[:3].astype(np.float64) - 0.5)
        np.testing.assert_allclose(credits, weights, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(value, weights @ qs + state[3], rtol=1e-5, atol=1e-5)


def test_clipping_keeps_a_function_that_needed_no_repair(written):
    good = written("return jnp.sum(jax.nn.softmax(state[:3]) * agent_qs)")
    repaired = repair_igm(good)
    qs, state = np.arange(3, dtype=np.float32), np.arange(9, dtype=np.float32)
    np.testing.assert_allclose(
        repaired.function(qs, state), good.function(qs, state), rtol=1e-6, atol=1e-6
    )


@pytest.mark.parametrize("mode", ["clip", "softplus"])
def test_the_wrapper_comes_off_again(mode, written):
    source = written("unrepaired = state[0]\nreturn jnp.sum(agent_qs) * unrepaired").source
    repaired = repaired_source(source, mode)
    assert unrepaired_source(repaired) == (source, mode)
    assert unrepaired_source(source) is None
    assert unrepaired_source(repaired.replace("jnp.sum(jax.nn", "jnp.max(jax.nn")) is None


def test_what_cannot_be_repaired_says_so(written):
    with pytest.raises(UserError, match="depend on agent_qs"):
        repair_igm(written("return jnp.sum(jax.nn.softmax(agent_qs) * agent_qs)"))
    with pytest.raises(UserError, match="softplus"):
        repair_igm(written(_SIGNED), "softpluss")
