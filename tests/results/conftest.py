"""A report's worth of made-up but realistic values, shared by the tests and by a look by eye."""

import numpy as np
import pytest

from qllm_jax.results import (
    CandidateRow,
    CheckRow,
    CostRow,
    EpisodeFigure,
    ReportData,
    RunSummary,
    TfcafSummary,
)

RESPONSE = '''import torch

def tfcaf(agent_qs, global_state):
    """Weight each agent by how near it is to the landmark that nobody else covers.

    agent_qs: (batch, n_agents); global_state: (batch, 54) holds 3 observations of 18.
    """
    B, N = agent_qs.shape
    obs = global_state.view(B, N, 18)            # one row per agent
    landmarks = obs[:, :, 4:10].reshape(B, N, 3, 2)
    dist = torch.sqrt((landmarks ** 2).sum(-1) + 1e-8)   # (B, N, 3)
    # an agent matters where it is the closest one to some landmark
    closeness = torch.softmax(-4.0 * dist, dim=1)
    weight = closeness.max(dim=-1).values
    weight = N * weight / weight.sum(dim=1, keepdim=True)
    return (weight * agent_qs).sum(dim=1, keepdim=True)
'''
SOURCE = '''import jax
import jax.numpy as jnp


def tfcaf(agent_qs, state):
    """Mix agent_qs [3] in state [54] into q_tot []."""
    obs = jnp.reshape(state, (3, 18))
    landmarks = jnp.reshape(obs[:, 4:10], (3, 3, 2))
    dist = jnp.sqrt(jnp.sum(landmarks**2, axis=-1) + 1e-08)
    closeness = jax.nn.softmax(-4.0 * dist, axis=0)
    weight = jnp.max(closeness, axis=-1)
    weight = 3 * weight / jnp.sum(weight, axis=0, keepdims=True)
    return jnp.sum(weight * agent_qs, axis=0)
'''


def make_run(name, final, num_seeds=8, num_evaluations=21, seed=0, status="complete"):
    """A saturating curve from -75 to `final` with noise of seeds and of evaluations."""
    rng = np.random.default_rng(seed)
    steps = np.arange(num_evaluations) * 10_000
    rise = 1 - np.exp(-np.maximum(steps - 12_000, 0) / 45_000)
    scores = -75 + (final + 75) * rise + rng.normal(0, 1.1, (num_seeds, num_evaluations))
    scores += rise * rng.normal(0, 1.2, (num_seeds, 1))
    sizes = {"tfcaf": 0, "vdn": 0, "iql": 0, "qmix": 27_521}
    info = {
        "status": status,
        "num_env_steps": 200_000,
        "compile_s": 7.9 + seed,
        "run_s": 61.0 + 7 * seed,
        "env_steps_per_s": 8 * 200_000 / (61.0 + 7 * seed),
        "num_mixer_params": sizes.get(name, 0),
        "seeds": list(range(num_seeds)),
        "path": f"runs/mpe/simple_spread/{name}/20260101-120000",
    }
    return RunSummary(name, {"return": scores, "env_steps": steps}, info)


def make_frame(positions, landmarks, size=120):
    """Discs on white, as the task's own renderer draws them."""
    grid = np.mgrid[0:size, 0:size].transpose(1, 2, 0)[..., ::-1]
    image = np.full((size, size, 3), 250, np.uint8)
    for point in landmarks:
        image[((grid - (point + 1.3) / 2.6 * size) ** 2).sum(-1) < 16] = (60, 60, 60)
    for color, point in zip([(0, 114, 178), (213, 94, 0), (0, 158, 115)], positions, strict=True):
        image[((grid - (point + 1.3) / 2.6 * size) ** 2).sum(-1) < 64] = color
    return image


def make_episode(num_steps=25, seed=0):
    """Three agents that walk to three landmarks; credit goes to the one that is near."""
    rng = np.random.default_rng(seed)
    start, goal = rng.uniform(-1, 1, (3, 2)), rng.uniform(-1, 1, (3, 2))
    part = (1 - np.exp(-np.arange(num_steps) / 6))[:, None, None]
    path = start + part * (goal - start) + rng.normal(0, 0.015, (num_steps, 3, 2))
    dist = np.linalg.norm(path - goal, axis=-1)
    weights = np.exp(-2 * dist) / np.exp(-2 * dist).sum(1, keepdims=True) * 3
    rewards = -dist.sum(1)
    values = np.convolve(rewards, 0.9 ** np.arange(12))[:num_steps] * 0.5
    return EpisodeFigure(
        frames=[make_frame(points, goal) for points in path],
        credits=weights,
        agent_names=("agent_0", "agent_1", "agent_2"),
        rewards=rewards,
        q_tot=values,
        title="tfcaf, seed 0",
    )


def make_candidates():
    """Two rounds of three with a refusal, a repair and a duplicate, and two fixed arms."""
    row = CandidateRow
    return (
        row("vdn", 0, verdict="arm", score=-47.2, low=-49.0, high=-45.9, num_seeds=3),
        row("qmix", 0, verdict="arm", score=-53.1, low=-55.0, high=-50.2, num_seeds=3),
        row("r1c1", 1, verdict="kept", score=-48.0, low=-50.1, high=-46.2, num_seeds=3,
            tokens=2312, dollars=0.0041, difference="Softmax of −distance to the nearest landmark.",
            advice="Distances are read as agent-to-landmark, which is right; the weights saturate "
            "early. Normalise them so that they sum to the number of agents."),
        row("r1c2", 1, verdict="refused", rule="import",
            feedback="[import] (line 2) scipy.spatial is imported, but only torch, numpy, math, "
            "jax and jax.numpy are allowed.\nFix: compute the distances with torch.cdist or by "
            "broadcasting the difference of positions.", tokens=1980, dollars=0.0035),
        row("r1c3", 1, verdict="measured", score=-51.3, low=-53.0, high=-49.7, num_seeds=3,
            tokens=2105, dollars=0.0038, difference="Equal weights with a collision penalty."),
        row("r2c1", 2, parent="r1c1", verdict="chosen", score=-44.1, low=-45.6, high=-42.9,
            num_seeds=3, tokens=2874, dollars=0.0052,
            difference="Weights by nearness to a landmark that nobody else covers, summing to N."),
        row("r2c2", 2, parent="r1c1", verdict="duplicate", rule="same outputs as r2c1",
            tokens=2790, dollars=0.0051),
        row("r2c3", 2, parent="r1c3", verdict="failed", rule="finite-credit",
            feedback="finite-credit: the credit is not finite in 3 of 64 states, where two agents "
            "are at the same place: sqrt has an infinite slope at 0. Add 1e-8 under the root.",
            tokens=3011, dollars=0.0054),
    )  # fmt: skip


def make_report_data(**changes):
    """Everything a report can hold; `changes` replace fields."""
    finals = {"tfcaf": -36.0, "qmix": -44.0, "vdn": -36.4, "iql": -40.5}
    checks = (
        CheckRow("shape", True, "q_tot is a scalar for [3] and [54]."),
        CheckRow("finite", True, "Finite on 512 random-policy states and 6 edge states."),
        CheckRow("finite-credit", True, "Every gradient is finite on the same states."),
        CheckRow("monotone", True, "Every weight is a softmax times a positive number."),
        CheckRow("permutation", False, "Relabelling agents changes q_tot by up to 1e-3.", False),
    )
    fields = {
        "task": "mpe/simple_spread",
        "runs": tuple(make_run(name, end, seed=i) for i, (name, end) in enumerate(finals.items())),
        "landmarks": {"random": -77.3},
        "tfcaf": TfcafSummary(
            SOURCE, RESPONSE, "torch", checks, "proved",
            "It has the highest measured return of 6 candidates (−44.1 [−45.6, −42.9], 3 seeds, "
            "40,000 environment steps each); the next, r1c1, is below it with intervals apart.\n\n"
            "Evaluator: it rewards the agent that covers what nobody else covers.",
            {"candidate": "r2c1", "model": "gemini-3.8-flash", "scale": "num_agents",
             "hash": "sha256:9f2c41d0"},
        ),
        "candidates": make_candidates(),
        "episodes": (make_episode(),),
        "costs": (
            CostRow("coder", "gemini-3.8-flash", 7, 9321, 15072, 0.0271, 61.0, True),
            CostRow("evaluator", "gemini-3.8-flash", 2, 6120, 904, None, 9.0, True),
        ),
        "command": "qllm-jax run task=mpe/simple_spread runner.num_seeds=8",
        "device": "cpu × 2",
        "precision": "highest",
        "versions": {"qllm-jax": "0.1.0", "jax": "0.10.2", "jaxmarl": "0.2.0", "python": "3.11"},
        "config": {"task": {"name": "mpe/simple_spread"}, "learner": {"lr": 0.005}},
        "created": "2026-01-01T12:00:00+00:00",
    }  # fmt: skip
    return ReportData(**{**fields, **changes})


@pytest.fixture(scope="session")
def report_data():
    return make_report_data()
