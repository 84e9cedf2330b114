"""Random programs in the grammar equal torch, value and credit."""

import jax
import numpy as np
import pytest
import tfcaf_oracles as oracles
import tfcaf_programs as programs

from qllm_jax.tfcaf import TranslationError, translate

torch = pytest.importorskip("torch")
PER_TEST = 20


def difference(program: programs.Program) -> str:
    """What differs between a program and its translation; "" where nothing does."""
    agent_qs, states = oracles.random_inputs(program.num_agents, program.state_dim, 6, seed=3)
    try:
        original = oracles.load_original(program.source)
        expected = oracles.original_value_and_credit(original, "torch", True, agent_qs, states)
    except (RuntimeError, IndexError, AssertionError, TypeError, NameError) as error:
        return f"invalid: {error}"
    try:
        exact = in_double(original, agent_qs, states)
    except RuntimeError:  # `.float()` keeps it in float32
        exact = expected
    try:
        function = translate(program.source, program.num_agents, program.state_dim).function
    except TranslationError as error:
        return f"refused: {error}"
    actual = jax.jit(jax.vmap(jax.value_and_grad(function)))(agent_qs, states)
    for what, ours, theirs, better in zip(
        ("value", "credit"), actual, expected, exact, strict=True
    ):
        ours, size = np.asarray(ours), 1e-2 + np.abs(theirs).max()
        slack = 1e-5 * size + 20 * np.abs(theirs - better)  # torch's own rounding, in float32
        wrong = ~(np.abs(ours - theirs) <= slack) & ~(np.isnan(ours) & np.isnan(theirs))
        if wrong.any():
            return f"{what}: {ours[wrong][:3]} instead of {theirs[wrong][:3]}"
    return ""


def in_double(original, agent_qs, states):
    """The original in float64."""
    torch.set_default_dtype(torch.float64)
    try:
        q = torch.tensor(agent_qs, dtype=torch.float64, requires_grad=True)
        out = original(q, torch.tensor(states, dtype=torch.float64))
        (credit,) = torch.autograd.grad(out.sum(), q)
    finally:
        torch.set_default_dtype(torch.float32)
    return out.detach().numpy().reshape(len(agent_qs)), credit.numpy()


def check(seed: int) -> None:
    program = programs.random_program(seed)
    problem = difference(program)
    if problem:
        kind = problem.split(":")[0]
        small = programs.minimise(program, lambda p: difference(p).startswith(kind))
        pytest.fail(f"seed {seed}: {difference(small)}\n\n{small.source}")


@pytest.mark.parametrize("start", range(0, 200, PER_TEST))
def test_random_programs_equal_torch(start):
    for seed in range(start, start + PER_TEST):
        check(seed)


@pytest.mark.nightly
@pytest.mark.parametrize("start", range(1_000, 3_000, PER_TEST))
def test_many_random_programs_equal_torch(start):
    for seed in range(start, start + PER_TEST):
        check(seed)
