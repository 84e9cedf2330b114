"""The coder–evaluator loop: from a task's description to a verified, measured TFCAF."""

from qllm_jax.synthesis.candidate import Candidate
from qllm_jax.synthesis.loop import generate
from qllm_jax.synthesis.measurement import ArmMeasurement, MeasureFn, Seeds
from qllm_jax.synthesis.result import SynthesisEvent, SynthesisResult
from qllm_jax.synthesis.tournament import make_measure

__all__ = [
    "ArmMeasurement",
    "Candidate",
    "MeasureFn",
    "Seeds",
    "SynthesisEvent",
    "SynthesisResult",
    "generate",
    "make_measure",
]
