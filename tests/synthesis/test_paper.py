"""`synthesis=paper`: the loop as it was published."""

import pytest
from design_loop import NEGATIVE, PROSE, Scripted, quick_verify

from qllm_jax.compose import compose_config
from qllm_jax.synthesis import generate
from qllm_jax.synthesis import loop as loop_module


def test_the_paper_preset_is_as_published(climbing, recorded, tmp_path, monkeypatch):
    """Three candidates a round, one picked by reading; nothing is trained, no error is sent back,
    and a negative credit is let through."""
    monkeypatch.setattr(loop_module, "verify", quick_verify)
    config = compose_config(["task=matrix/climbing", "synthesis=paper", "llm=recorded"])
    settings = config.synthesis
    assert (settings.num_candidates, settings.num_rounds, settings.memory) == (3, 3, 3)
    assert (settings.evaluator, settings.igm, settings.max_repairs) == ("llm", "off", 0)
    requests = []

    class Watched(Scripted):
        def complete(self, request):
            requests.append(request)
            return super().complete(request)

    review = '{"ranking": [2, 1, 3], "reason": "R", "advice": "Use the state."}'
    answers = {f"r{number}.review": review for number in (1, 2, 3)}
    for number in (1, 2, 3):
        answers[f"r{number}c1"] = PROSE
        answers[f"r{number}c2"] = NEGATIVE.replace("]\n", f"] * {number}.0\n")
        answers[f"r{number}c3"] = NEGATIVE.replace("]\n", f"] - {number}.5\n")

    def never(*args, **kwargs):
        pytest.fail("trained")

    result = generate(climbing, config, Watched(recorded, answers), tmp_path, None, never)
    assert [item.verdict for item in result.candidates if item.index == 0] == ["refused"] * 3
    assert result.chosen.report.igm is not None
    assert result.reference == {}
    coder = [request for request in requests if request.purpose == "coder"]
    assert len(coder) == 9  # one call a candidate
    assert all(len(request.messages) == 2 for request in coder)
    assert not any(PROSE in request.messages[1].text for request in coder)
    later = [request for request in coder if "# Tried so far" in request.messages[1].text]
    assert len(later) == 6
    assert all("No candidate was trained, so no returns" in item.messages[1].text for item in later)
    assert not any("trained, beside" in request.messages[1].text for request in later)
    assert all("r1c1, " in request.messages[1].text for request in later[:3])
    assert not any("refused by" in request.messages[1].text for request in later)
