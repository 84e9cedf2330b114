"""QLLM-JAX: a language model writes the credit-assignment function; JAX trains the team with it.

task ──► prompt ──► coder (LLM) ──► translate ──► verify ──► evaluate ──► TFCAF artifact
                        ▲               │            │           │              │
                        └── feedback ◄──┴────────────┴───────────┘              ▼
                                              compiled trainer: env + agents + TFCAF
                                              vmap [candidates × seeds], sharded
                                                                                │
                                              run directory ──► statistics ──► report

import qllm_jax
from qllm_jax.compose import compose_config
result = qllm_jax.train(compose_config(["task=matrix/climbing", "mixer=vdn"]))
result.metrics["return"]             # [S, E]: seeds, evaluations
"""

from typing import TYPE_CHECKING, Any

from qllm_jax.config import Config

if TYPE_CHECKING:
    from qllm_jax.pipeline import train

__all__ = ["Config", "train"]


def __getattr__(name: str) -> Any:
    # Late, so that `import qllm_jax` starts neither JAX nor the accelerator.
    if name == "train":
        from qllm_jax.pipeline import train

        return train
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
