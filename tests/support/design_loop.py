"""What tests of the design loop share: answers by label, and a verification without a child."""

import jax
import numpy as np

from qllm_jax.llm import Completion, Usage
from qllm_jax.verify.report import Check, VerificationReport


def quick_verify(translation, states=None, igm="report", task=None):
    """Verification in this process: a negative credit is refused, nothing else."""
    agent_qs = jax.random.normal(jax.random.key(0), (len(states), translation.num_agents))
    credits = jax.vmap(jax.grad(translation.function))(agent_qs, np.asarray(states))
    low = float(np.min(credits))
    check = Check("igm", low >= 0.0 or igm != "enforce", f"smallest credit {low:.3f}")
    return VerificationReport((check,), "tested", 0.0)


class Scripted:
    """Answers by candidate label from the recorded transcripts, or by what the test says."""

    name = "gemini"

    def __init__(self, recorded, answers):
        self._recorded, self._answers = recorded, answers

    def complete(self, request):
        from qllm_jax.synthesis.rerecord import turn_label

        label = turn_label(request)
        if label not in self._answers:
            return self._recorded.complete(request)
        answer = self._answers[label]
        if isinstance(answer, Exception):
            raise answer
        text, reason = answer if isinstance(answer, tuple) else (answer, "stop")
        return Completion(text, Usage(10, 0, 10, 0), "fake-1", reason, 0.0)


SUM = "```python\ndef tfcaf(agent_qs, state):\n    return {}\n```"
VDN_CODE = SUM.format("agent_qs.sum()").replace("def", "import jax.numpy as jnp\n\ndef", 1)


PROSE = "I would weight the agents by their distance."
NEGATIVE = SUM.format("agent_qs[0] - agent_qs[1]")
