"""Training-free credit assignment functions: from a model's text to jnp that JAX runs.

    text ─► response ─► grammar ─► interpreter (shapes; ops) ─► emit ─► source ─► function

Nothing that a model wrote is executed: `translate` reads it and writes source of its own.
"""

from qllm_jax.tfcaf.artifact import (
    Artifact,
    holds_artifact,
    load_artifact,
    make_artifact,
    save_artifact,
)
from qllm_jax.tfcaf.contract import Translation, TranslationError
from qllm_jax.tfcaf.translate import translate

__all__ = [
    "Artifact",
    "Translation",
    "TranslationError",
    "holds_artifact",
    "load_artifact",
    "make_artifact",
    "save_artifact",
    "translate",
]
