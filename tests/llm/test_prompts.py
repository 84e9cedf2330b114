"""Templates are filled strictly, and every shipped one is well formed."""

import re

import pytest

from qllm_jax.llm.prompts import fill_prompt, prompt_dir, strategy_hints


def test_every_placeholder_needs_a_value_and_every_value_a_placeholder():
    values = {"round": 1, "candidate": 2, "repair": 1, "refusal": "why $nothing ${x}"}
    text = fill_prompt("coder_repair", **values)
    assert "Round 1, candidate 2, repair 1." in text
    assert "why $nothing ${x}" in text  # values are not templates
    with pytest.raises(ValueError, match=r"no value for \['refusal'\]"):
        fill_prompt("coder_repair", round=1, candidate=2, repair=1)
    with pytest.raises(ValueError, match=r"no placeholder for \['extra'\]"):
        fill_prompt("coder_repair", **values, extra="x")


def test_the_coder_is_told_the_contract():
    system = fill_prompt("coder_system")
    for word in ("tfcaf(agent_qs, state)", "∂q_tot/∂q_i", "≥ 0", "float32 [N]", "```python"):
        assert word in system


@pytest.mark.parametrize("kind", ["first", "later"])
def test_strategy_hints_differ_and_are_enough_for_the_default_round(kind):
    hints = strategy_hints(kind)
    assert len(hints) >= 3
    assert len(set(hints)) == len(hints)
    assert all(re.match(r"\*\*[^*]+\.\*\* ", hint) for hint in hints)


def test_templates_open_with_their_round():
    """Labels of recorded answers are read from this line."""
    for name in ("coder_turn", "coder_feedback", "coder_repair", "evaluator_turn"):
        assert (prompt_dir() / f"{name}.md").read_text().startswith("Round $round")
