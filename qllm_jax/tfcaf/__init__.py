"""The credit assignment function: what it is, how text becomes one, and its form on disk."""

from qllm_jax.tfcaf.artifact import Artifact, load_artifact, make_artifact, save_artifact
from qllm_jax.tfcaf.contract import Translation, TranslationError

__all__ = [
    "Artifact",
    "Translation",
    "TranslationError",
    "load_artifact",
    "make_artifact",
    "save_artifact",
]
