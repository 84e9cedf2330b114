"""Is a translated function safe, cheap and right? Static, numeric and property checks."""

from qllm_jax.verify.pool import WorkerError
from qllm_jax.verify.repair import repair_igm
from qllm_jax.verify.report import Check, VerificationReport, format_report
from qllm_jax.verify.verifier import check_program, verify

__all__ = [
    "Check",
    "VerificationReport",
    "WorkerError",
    "check_program",
    "format_report",
    "repair_igm",
    "verify",
]
