"""Candidates that say the same are found, whatever they are called."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

from qllm_jax.synthesis.duplicates import Duplicates, canonical_program
from qllm_jax.tfcaf import translate

STATES = np.random.default_rng(0).normal(size=(16, 3)).astype(np.float32)


def function(body, names=("agent_qs", "state")):
    text = f"import jax.numpy as jnp\n\ndef tfcaf({', '.join(names)}):\n    return {body}\n"
    return translate(text, num_agents=2, state_dim=3)


def test_names_docstrings_and_spacing_do_not_make_a_program_new():
    head = "import jax.numpy as jnp\n\n\n"
    one = head + 'def tfcaf(q, s):\n    """Sum."""\n    w = q * s\n    return jnp.sum(w)'
    two = head + "def mix(values, z):\n  weighted=values*z\n  return jnp.sum(weighted)"
    other = two.replace("jnp.sum", "jnp.max")
    assert canonical_program(one) == canonical_program(two)
    assert canonical_program(one) != canonical_program(other)


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ("jnp.sum(agent_qs)", "agent_qs[0] + agent_qs[1]", True),
        ("jnp.sum(agent_qs)", "jnp.sum(agent_qs) + 1.0", False),  # another bias is another function
        ("jnp.sum(agent_qs)", "1.5 * agent_qs[0] + 0.5 * agent_qs[1]", False),
        ("jnp.sum(agent_qs) + state[0]", "state[0] + jnp.sum(agent_qs)", True),
    ],
)
def test_equal_outputs_are_a_repeat(first, second, same):
    seen = Duplicates(STATES)
    assert seen.find_or_add("a", function(first)) is None
    assert (seen.find_or_add("b", function(second)) == "a") is same


def test_inspiration_is_the_one_with_the_least_similar_credits():
    seen = Duplicates(STATES)
    for name, body in {
        "sum": "jnp.sum(agent_qs)",
        "near": "1.1 * agent_qs[0] + 0.9 * agent_qs[1]",
        "far": "1.9 * agent_qs[0] + 0.1 * agent_qs[1]",
    }.items():
        seen.find_or_add(name, function(body))
    assert seen.most_different("sum", ["near", "far"]) == "far"
    assert seen.most_different("sum", []) is None


def test_a_function_that_is_not_finite_is_not_taken_for_another():
    broken = dataclasses.replace(
        function("jnp.max(agent_qs)"), function=lambda q, s: jnp.sum(q) * jnp.nan
    )
    seen = Duplicates(STATES)
    assert seen.find_or_add("a", broken) is None
    assert seen.find_or_add("b", function("jnp.sum(agent_qs)")) is None
