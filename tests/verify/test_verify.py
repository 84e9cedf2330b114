"""`verify` itself: arguments, states, reports."""

import json

import numpy as np
import pytest

from qllm_jax.errors import UserError
from qllm_jax.verify import Check, VerificationReport, check_program, format_report, verify
from qllm_jax.verify.points import SAMPLES, make_points, permutations_of

_SOFTMAX = "return jnp.sum(jax.nn.softmax(state[:3]) * agent_qs)"


@pytest.mark.parametrize(
    ("states", "said"),
    [
        (np.zeros((4, 8)), "expected (K, 9)"),
        (np.zeros(9), "expected (K, 9)"),
        (np.zeros((0, 9)), "expected (K, 9)"),
        ([["a"] * 9], "not an array of numbers"),
        (np.full((2, 9), np.nan), "states[0]"),
    ],
)
def test_wrong_states_are_the_callers_mistake(states, said, written):
    with pytest.raises(
        UserError, match=said.replace("(", r"\(").replace(")", r"\)").replace("[", r"\[")
    ):
        verify(written(_SOFTMAX), states=states)


def test_other_misuse_is_explained(written, toy_task):
    with pytest.raises(UserError, match="enforce"):
        verify(written(_SOFTMAX), igm="enforced")
    with pytest.raises(UserError, match="translated for 2 agents"):
        verify(written("return jnp.sum(agent_qs)", num_agents=2), task=toy_task)
    with pytest.raises(UserError, match="num_states"):
        verify(written(_SOFTMAX), num_states=0)
    with pytest.raises(UserError, match="unknown task"):
        verify(written(_SOFTMAX), task="mpe/simple_spraed")


def test_without_states_or_task_random_states_are_tried(written):
    report = verify(written(_SOFTMAX), igm="report", num_states=64)
    assert report.passed
    assert report.igm == "proved"
    assert "random states" in format_report(report)


def test_igm_off_does_not_look_and_report_does_not_refuse(written):
    negative = written("return jnp.sum(state[:3] * agent_qs)")
    off = verify(negative, igm="off")
    assert off.igm == "not checked"
    assert all(check.name != "igm" for check in off.checks)
    report = verify(negative, igm="report")
    assert report.passed
    assert report.igm == "violated"
    assert not verify(negative, igm="enforce").passed


def test_tested_igm_says_on_how_many_states(written, toy_task, toy_states):
    """x² - x + 1 is positive, but intervals do not show it: 24 states and 3 edge states."""
    body = "x = state[:6:2]\nreturn jnp.sum((x * x - x + 1.0) * agent_qs)"
    report = verify(written(body), states=toy_states, task=toy_task, igm="enforce")
    assert report.passed, report.feedback()
    assert report.igm == "tested on 27 states"


def test_task_ranges_prove_what_any_state_does_not(written, toy_task, toy_states):
    """The flags lie in [0, 1]."""
    body = "return jnp.sum((2.0 - state[6:]) * agent_qs) + state[0]"
    report = verify(written(body), states=toy_states, task=toy_task)
    assert report.igm == "proved"
    assert "within the task's ranges" in report.checks[-1].detail
    assert verify(written(body), states=toy_states).igm == "tested on 24 states"


def test_affine_functions_are_named(written):
    assert "affine" in verify(written(_SOFTMAX)).checks[-1].detail
    assert "affine" not in verify(written("return jnp.max(agent_qs)")).checks[-1].detail


def test_one_agent_and_one_feature(written):
    report = verify(written("return agent_qs[0] + state[0]", num_agents=1, state_dim=1))
    assert report.passed, report.feedback()


def test_reports_survive_json_and_format(written, toy_task, toy_states):
    bad = written("return 1e6 * jnp.sum(agent_qs) * state[0]")
    report = verify(bad, states=toy_states, task=toy_task, igm="enforce")
    assert json.dumps([vars(check) for check in report.checks])
    text = format_report(report)
    assert text.count("FAIL") == len(report.feedback().split("- ")) - 1
    assert "refused" in text.splitlines()[-1]


def test_format_of_a_report():
    report = VerificationReport(
        (Check("size", True, "small."), Check("offset", False, "large.", required=False)),
        "proved", 0.25,
    )  # fmt: skip
    assert format_report(report).splitlines() == [
        "ok    size    small.",
        "note  offset  large.",
        "verified; IGM proved; 0.2 s",
    ]


def test_the_second_gate_alone(written):
    checks = check_program(written(_SOFTMAX))
    assert [check.name for check in checks] == [
        "traceable", "output-shape", "output-dtype", "primitives", "size",
    ]  # fmt: skip
    assert all(check.passed for check in checks)


def test_points_hold_every_group(toy_task, toy_states):
    points = make_points(3, 9, toy_states, toy_task)
    sizes = {name: rows.stop - rows.start for name, rows in points.groups.items()}
    # 24 states and 3 edge states with 6 samples; 1 + 3 + 4 zeros; 3 of the samples raised;
    # 24 states × 2 permutations
    assert sizes == {
        "states": 144, "edge": 18, "zeros": 8, "large": 32, "raised": 72, "relabelled": 48,
    }  # fmt: skip
    assert len(points.agent_qs) == sum(sizes.values()) == len(points.states)
    shared = points.agent_qs[0 : 24 * SAMPLES : SAMPLES]
    assert (shared == shared[0]).all()
    large = points.states[points.groups["large"]]
    assert np.isin(large[:, 6:], [0.0, 1.0]).all()
    assert np.abs(large[:, :6]).max() > 10


def test_permutations_swap_and_rotate_within_groups():
    assert permutations_of(((0, 1, 2), (3, 4)), 5) == (
        (1, 0, 2, 3, 4), (1, 2, 0, 3, 4), (0, 1, 2, 4, 3),
    )  # fmt: skip
    assert permutations_of(((1,),), 2) == ()
