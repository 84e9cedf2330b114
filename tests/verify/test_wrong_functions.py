"""Functions that translate and are wrong: nearly all must be caught by some check."""

import tfcaf_oracles as oracles

from qllm_jax.tfcaf import TranslationError
from qllm_jax.tfcaf.translate import translate
from qllm_jax.verify import verify

_NO_REASON_TO_REFUSE = {"ignores_the_state"}  # VDN: reported, and a fair function


def test_wrong_functions_are_caught_without_a_task():
    missed = []
    entries = oracles.wrong_entries()
    for name, entry in entries.items():
        try:
            translation = translate(entry["source"], num_agents=3, state_dim=54)
        except TranslationError:
            continue
        report = verify(translation, igm="enforce")
        failed = {check.name for check in report.checks if not check.passed}
        if name in _NO_REASON_TO_REFUSE:
            assert {"constant-credit", "state-used"} <= failed
        elif report.passed:
            missed.append(name)
        if entry["check"]:
            assert entry["check"] in failed, name
    assert len(missed) <= 0.05 * len(entries), missed
