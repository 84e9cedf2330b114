"""What the steps of a run share, and what a round hands to the next.

Made by `loop`; read by every module that plays a part of a round.
"""

import dataclasses
from collections.abc import Callable

from qllm_jax.config import Config
from qllm_jax.llm import Client
from qllm_jax.llm.ledger import Ledger
from qllm_jax.synthesis.candidate import Candidate
from qllm_jax.synthesis.journal import Journal
from qllm_jax.tasks.spec import TaskSpec
from qllm_jax.tfcaf import Translation
from qllm_jax.verify.report import VerificationReport

VerifyFn = Callable[[Translation], VerificationReport]


@dataclasses.dataclass(frozen=True)
class Session:
    """What every step of a run shares."""

    spec: TaskSpec
    config: Config
    client: Client
    journal: Journal
    ledger: Ledger
    verify_fn: VerifyFn
    tell: Callable[..., None]  # (kind, round, candidate="", text="", **values)


@dataclasses.dataclass(frozen=True)
class Parent:
    """What later rounds start from.

    Attributes:
        candidate: The best so far.
        reflection: What was observed about it, as text.
        inspiration: Source of a good candidate that differs from it; "" where there is none.
        advice: The evaluator's sentence; "" where there is none.
        history: Earlier candidates, one line each; "" where none are remembered.
    """

    candidate: Candidate
    reflection: str
    inspiration: str = ""
    advice: str = ""
    history: str = ""
