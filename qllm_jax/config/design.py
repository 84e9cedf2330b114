"""Where a TFCAF comes from: the language model and the loop that judges what it writes."""

import dataclasses
from typing import Any, Literal

from qllm_jax.config.checks import positive
from qllm_jax.errors import require


@dataclasses.dataclass(frozen=True)
class LlmConfig:
    """Where completions come from. Keys come from the environment only.

    Attributes:
        provider: `auto` (gemini where a key is set, else recorded), `gemini`, `openai`
            (any OpenAI-compatible server) or `recorded`.
        coder_model: Model that writes functions.
        evaluator_model: Model that chooses and advises.
        base_url: Server of an OpenAI-compatible provider; None is the provider's own.
        temperature: Of the coder; the evaluator is asked at 0.
        max_output_tokens: Per call, thinking included.
        timeout_s: Wall clock per attempt.
        max_attempts: Attempts per call, the first included.
        transcripts: Directory of recorded transcripts; None is the shipped one.
        prices: Model name to dollars per million tokens, `{input, cached, output}`; a model that
            is not listed has an unknown price, and token caps hold.
    """

    provider: Literal["auto", "gemini", "openai", "recorded"] = "auto"
    coder_model: str = "gemini-3.8-flash"
    evaluator_model: str = "gemini-3.8-flash"
    base_url: str | None = None
    temperature: float = 0.8
    max_output_tokens: int = 16_384
    timeout_s: float = 120.0
    max_attempts: int = 5
    transcripts: str | None = None
    prices: dict[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        positive("llm", self, "max_output_tokens", "timeout_s", "max_attempts")


@dataclasses.dataclass(frozen=True)
class SynthesisConfig:
    """The coder–evaluator loop.

    Attributes:
        num_candidates: K per round.
        num_rounds: Rounds at most.
        max_repairs: Repair requests per candidate; with 0 the coder is never told which rule
            refused a function, as in the published loop.
        evaluator: `measured+llm` (training decides, the model breaks ties and advises),
            `measured`, or `llm` (the paper's).
        igm: Whether credit ≥ 0 is enforced, reported or off.
        igm_repair: With `enforce`, wrap a function that fails only by negative weights and is
            affine in the values (`clip` or `softplus`) instead of refusing it; `none` refuses.
        measured_seeds: Seeds per candidate in measured evaluation.
        measured_env_steps: Environment steps per seed in measured evaluation, at the last rung.
        measured_rungs: Budgets of successive halving: rung r of R ends after 1/2^(R-1-r) of
            `measured_env_steps` and the better half goes on; 1 trains all to the end.
        final_seeds: Fresh seeds on which the finalist is scored again; 0 does not.
        arms: Mixers that every measurement trains beside the candidates, with the same seeds and
            budget. `vdn` is part of the candidates' program; another, such as `qmix`, is a
            program of its own, whose compilation later rounds and runs find in the cache.
        patience: Rounds in a row without a better candidate after which the loop stops.
        memory: Earlier candidates that the coder is told about, newest last.
        max_tokens: Cap on all tokens of a run.
        max_dollars: Cap on money, for models with a known price.
        max_calls: Cap on calls.
        max_seconds: Cap on wall time.
    """

    num_candidates: int = 3
    num_rounds: int = 2
    max_repairs: int = 2
    evaluator: Literal["measured+llm", "measured", "llm"] = "measured+llm"
    igm: Literal["enforce", "report", "off"] = "enforce"
    igm_repair: Literal["none", "clip", "softplus"] = "none"
    measured_seeds: int = 3
    measured_env_steps: int = 40_000
    measured_rungs: int = 1
    final_seeds: int = 4
    arms: tuple[str, ...] = ("vdn", "qmix")
    patience: int = 3
    memory: int = 6
    max_tokens: int = 1_000_000
    max_dollars: float = 5.0
    max_calls: int = 200
    max_seconds: float = 3600.0

    def __post_init__(self) -> None:
        positive(
            "synthesis",
            self,
            "num_candidates",
            "num_rounds",
            "measured_seeds",
            "measured_env_steps",
            "measured_rungs",
            "patience",
            "max_tokens",
            "max_dollars",
            "max_calls",
            "max_seconds",
        )
        for name in ("max_repairs", "final_seeds", "memory"):
            value = getattr(self, name)
            require(value >= 0, f"synthesis.{name} is {value}; it must be ≥ 0.")
