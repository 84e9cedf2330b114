"""A user's own environment: the documented example, what is worked out of it, and mistakes."""

import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from qllm_jax.errors import UserError
from qllm_jax.tasks import check_task, format_task_report, get_task, task_prompt

ROOT = Path(__file__).parents[2]
EXAMPLE = f"{ROOT}/benchmarks/own_task/rendezvous.py:Rendezvous"
BAD = f"{ROOT}/tests/tasks/bad_envs.py"


@pytest.fixture(autouse=True)
def _repository_importable(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT))
    monkeypatch.chdir(ROOT)


def test_the_documented_example_passes_every_check():
    report = check_task(EXAMPLE)
    assert report.passed, format_task_report(report)
    assert "| 1 | agent_0[1] |" in report.prompt
    assert "= buoy - positions[0]" in report.prompt
    assert "Two walkers on a line" in report.prompt


def test_an_import_path_and_arguments_work_too():
    spec = get_task("benchmarks.own_task.rendezvous:Rendezvous", max_steps=7)
    assert spec.env.episode_length == 7
    assert spec.action_names == ("left", "stay", "right")
    assert get_task("benchmarks.own_task.rendezvous:Rendezvous", max_steps=7) is spec


def test_win_and_time_limit_are_kept_apart():
    env = get_task("benchmarks.own_task.rendezvous:Rendezvous", max_steps=2).env
    env_state, _ = env.reset(jax.random.key(0))
    at_buoy = env_state.inner.replace(positions=jnp.zeros(2), buoy=jnp.zeros(()))
    stay = jnp.ones(2, jnp.int32)
    _, won = env.step(jax.random.key(0), env_state.replace(inner=at_buoy), stay)
    assert (bool(won.terminated), bool(won.truncated)) == (True, False)
    far = env_state.replace(inner=at_buoy.replace(positions=jnp.full(2, 5.0)))
    far, first = env.step(jax.random.key(0), far, stay)
    _, second = env.step(jax.random.key(0), far, stay)
    assert (bool(first.terminated), bool(first.truncated)) == (False, False)
    assert (bool(second.terminated), bool(second.truncated)) == (False, True)
    # |5 - 5| + 2 x |5 - 0.0..| with the buoy drifting by about 0.01 per step
    assert float(second.reward) == pytest.approx(-10, abs=0.2)


@pytest.mark.parametrize(
    ("env", "failed", "says"),
    [
        ("Growing", "step_env", "steps is int32[] after reset and float32[]"),
        ("LateByOne", "time limit", "one step late"),
        ("ResetsItself", "no auto-reset", "starts the next episode by itself"),
        ("WrongSpaces", "spaces", "-0.5..0.5 declared"),
        ("WrongLayout", "layout", "a.to_buoy [0:1]: differs"),
        ("NoLimit", "task", "has no time limit"),
        ("Continuous", "task", "agent_0 has the action space Box"),
    ],
)
def test_each_mistake_fails_its_own_check_and_no_other(env, failed, says):
    report = check_task(f"{BAD}:{env}")
    wrong = [check for check in report.checks if not check.passed]
    assert [check.name for check in wrong] == [failed], format_task_report(report)
    assert says in wrong[0].detail
    assert f"FAIL  {failed}" in format_task_report(report)


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("nowhere/at_all.py:Env", "there is no file"),
        ("not_a_package_of_mine.envs:Env", "cannot be imported"),
        (EXAMPLE.replace(":Rendezvous", ":Rendezvouz"), "Did you mean Rendezvous"),
    ],
)
def test_what_cannot_be_found_is_explained(path, says):
    with pytest.raises(UserError, match=says):
        get_task(path)
    assert "own_task_at_all" not in sys.modules


def test_wrong_arguments_are_explained():
    with pytest.raises(UserError, match="unexpected keyword argument 'strid'"):
        get_task(EXAMPLE, strid=0.2)


def test_layout_of_an_unknown_environment_is_worked_out():
    """Without being told anything, simple_spread's layout comes out as the catalog has it."""
    import jaxmarl

    from qllm_jax.tasks.own import task_of_env

    spec = task_of_env(jaxmarl.make("MPE_simple_spread_v3", max_steps=24), "spread", {})
    known = get_task("mpe/simple_spread")
    assert [(f.start, f.stop) for f in spec.layout] == [(f.start, f.stop) for f in known.layout]
    descriptions = {field.start: field.description for field in spec.layout}
    assert descriptions[4] == "= p_pos[3, 0:2] - p_pos[0, 0:2]"  # landmark 0 seen by agent 0
    assert descriptions[18] == "= p_vel[1, 0:2]"
    env_state, step = known.env.reset(jax.random.key(0))
    for mine, theirs in zip(spec.layout, known.layout, strict=True):
        np.testing.assert_allclose(
            mine.from_env_state(env_state), theirs.from_env_state(env_state), atol=1e-6
        )
    assert "episodes" in task_prompt(spec).lower()
    assert step.state.shape == (54,)


def test_numbers_that_cannot_be_worked_out_are_marked():
    """A one-hot of an integer is no fixed linear combination; it keeps its place and a mark."""
    from qllm_jax.tasks.derive import derived_layout

    inner = {"goal": jnp.array([0, 1, 2, 0]), "x": jnp.arange(4.0)}
    layout = derived_layout(
        lambda s: jnp.concatenate([jax.nn.one_hot(s["goal"], 3), jnp.stack([2 * s["x"] + 1])]),
        inner,
        [("state", 4)],
    )
    assert [(field.name, field.start, field.stop) for field in layout] == [
        ("state[0:3]?", 0, 3),
        ("state[3]", 3, 4),
    ]
    assert "depends on ['goal']" in layout[0].description
    assert layout[1].description == "= 2·['x'] +1"


def test_catalog_tasks_can_be_checked_by_name():
    report = check_task("matrix/climbing")
    assert report.passed
    assert "mean return" in format_task_report(report)
