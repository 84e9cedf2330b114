"""Where a function's credit goes, in numbers that can be checked by hand."""

import numpy as np
import pytest

from qllm_jax.synthesis.reflection import comparison_text, credit_profile, profile_text
from qllm_jax.tfcaf import translate

STATES = np.array([[0.0, 0.0], [1.0, 2.0]], np.float32)


def profile(body):
    text = f"import jax.numpy as jnp\n\ndef tfcaf(agent_qs, state):\n    return {body}\n"
    return credit_profile(translate(text, num_agents=2, state_dim=2), STATES)


def test_the_sum_spreads_credit_evenly():
    vdn = profile("jnp.sum(agent_qs)")
    assert vdn.mean.tolist() == [1.0, 1.0]
    assert vdn.spread.tolist() == [0.0, 0.0]
    assert (vdn.total, vdn.uniform, vdn.zero, vdn.largest, vdn.offset) == (2, 1, 0, 1, (0, 0))


def test_credits_that_depend_on_the_state():
    """Credits (1 + s_0, 1 - s_0): (1, 1) in the first state, (2, 0) in the second; bias s_1."""
    some = profile("(1 + state[0]) * agent_qs[0] + (1 - state[0]) * agent_qs[1] + state[1]")
    assert some.mean.tolist() == pytest.approx([1.5, 0.5])
    assert some.spread.tolist() == pytest.approx([0.5, 0.5])
    assert some.uniform == 0.5  # the first state
    assert some.zero == 0.5  # agent 1 in the second
    assert some.largest == pytest.approx((1 + 2) / 2)
    assert some.offset == pytest.approx((1.0, 1.0))  # biases 0 and 2
    text = profile_text(some)
    assert "agent 0 1.50 ± 0.50" in text
    assert "practically zero in 50%" in text


def test_the_coder_is_told_what_the_comparison_rests_on():
    """Training beside the arms that were trained, and only those; or a reader's judgement."""
    beside = comparison_text(["vdn", "qmix"])
    assert "trained, beside vdn (`jnp.sum(agent_qs)`) and qmix, with the same seeds" in beside
    alone = comparison_text([])
    assert "compiled and trained with the same seeds" in alone
    read = comparison_text(None)
    assert "No candidate was trained" in read
    assert "seeds" not in read
