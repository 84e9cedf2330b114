"""The shipped functions: each loads, fits its task and came from an answer that is shipped too."""

import re

import jax
import numpy as np
import pytest
from task_params import nightly_but, without_most_kitchens

from qllm_jax.config import MixerConfig
from qllm_jax.jobs.artifacts import load_tfcaf
from qllm_jax.llm.prompts import prompt_dir
from qllm_jax.llm.transcripts import read_transcript
from qllm_jax.paths import data_dir
from qllm_jax.tasks import get_task, task_names

SHIPPED = sorted(
    str(path.parent.relative_to(data_dir("configs") / "artifacts"))
    for path in (data_dir("configs") / "artifacts").rglob("tfcaf.json")
)


@pytest.mark.parametrize("name", nightly_but(without_most_kitchens(SHIPPED), SHIPPED))
def test_shipped_function_fits_its_task_and_credits_nobody_negatively(name):
    spec = get_task(name)
    artifact = load_tfcaf(MixerConfig(name="tfcaf"), spec)
    assert artifact.task == name
    assert artifact.igm_mode == "enforce"
    assert all(check["passed"] for check in artifact.checks if check["required"])
    states = np.concatenate([np.asarray(item) for item in spec.edge_states.values()])
    values = np.linspace(-1.0, 1.0, spec.env.num_agents, dtype=np.float32)
    credit_fn = jax.jit(jax.vmap(jax.grad(artifact.function), in_axes=(None, 0)))
    credits = np.asarray(credit_fn(values, states))  # [K, N]
    assert np.isfinite(credits).all()
    assert credits.min() >= 0.0


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_function_is_a_recorded_answer(name):
    artifact = load_tfcaf(MixerConfig(name="tfcaf"), get_task(name))
    answers = [
        read_transcript(path).completion.text
        for path in (prompt_dir() / "recorded" / name).glob("*.json")
    ]
    blocks = {
        block.strip()
        for text in answers
        for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    }
    assert artifact.original.strip() in blocks


def test_recorded_and_shipped_tasks_are_the_same():
    recorded = {
        str(path.parent.relative_to(prompt_dir() / "recorded"))
        for path in (prompt_dir() / "recorded").rglob("*.json")
    }
    assert recorded == set(SHIPPED)
    assert set(SHIPPED) <= set(task_names())
