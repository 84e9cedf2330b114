"""What a report is made of: plain frozen values, so that it needs nothing else of this package.

Everything is optional but the task's name: a run that was interrupted, or that had no TFCAF,
still gets the report of what there is.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np


@dataclasses.dataclass(frozen=True)
class RunSummary:
    """One trained mixer.

    Attributes:
        name: What the tables and curves call it, such as "tfcaf".
        metrics: `return` [S, E] and `env_steps` [E] (0 first: the untrained policy); optionally
            `diverged` [S] bool, and what a `Measure` names.
        info: As in `run.json`; read are `status`, `num_env_steps`, `compile_s`, `run_s`,
            `env_steps_per_s` (over all seeds), `num_mixer_params`, `device`, `precision`,
            `versions`, `command` and `path`, where present.
    """

    name: str
    metrics: Mapping[str, np.ndarray]
    info: Mapping[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Measure:
    """A second number by which episodes are compared, such as the win rate.

    Attributes:
        name: As tables and axes call it.
        metric: Its name among a run's metrics, `[S, E]` like `return`.
        landmarks: Known values by name, such as `{"random": 0.0}`.
    """

    name: str
    metric: str
    landmarks: Mapping[str, float] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class CheckRow:
    """One answer of the verifier.

    Attributes:
        name: Such as "finite-credit".
        passed: Whether it held.
        detail: One sentence.
        required: False for findings that are only reported.
    """

    name: str
    passed: bool
    detail: str = ""
    required: bool = True


@dataclasses.dataclass(frozen=True)
class TfcafSummary:
    """The chosen credit-assignment function.

    Attributes:
        source: The translated jnp source.
        original: The code of the response, verbatim.
        dialect: What it was written in.
        checks: The verifier's answers, in order.
        igm: "proved", "tested on n states", "violated" or "not checked".
        reason: Why it was chosen, in sentences.
        provenance: Such as `{"model": …, "round": 2, "candidate": "r2c1", "hash": …}`.
    """

    source: str
    original: str
    dialect: str = ""
    checks: Sequence[CheckRow] = ()
    igm: str = "not checked"
    reason: str = ""
    provenance: Mapping[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class CandidateRow:
    """One candidate of the design loop, or a fixed arm that it was measured against.

    Attributes:
        name: Unique, such as "r1c2"; parents refer to it.
        round: 1-based; 0 for fixed arms such as VDN.
        parent: Name of the candidate it was derived from; None for a first proposal.
        verdict: "chosen", "kept", "measured", "refused", "failed", "duplicate", "repaired",
            "arm", or a live state such as "asking".
        rule: Rule or check that refused it; "" if none.
        feedback: What the coder was told about it.
        score: Measured score (higher is better); None where it was not measured.
        low: Lower end of the score's 95 % interval.
        high: Upper end.
        num_seeds: Seeds behind the score.
        advice: The evaluator's advice.
        tokens: Tokens it cost; None where unknown.
        dollars: Money it cost; None where the price is unknown.
        difference: What changed against the parent, or the idea, in one clause.
        program: The function as it was written; "" where none was accepted.
        diff: Unified diff of the parent's program and this one; "" without a parent.
        env_steps: P environment steps per seed, at which the arm was read while it was measured.
        curve: P mean returns.
        td_error: P mean absolute TD errors; None where there was no gradient step.
    """

    name: str
    round: int
    parent: str | None = None
    verdict: str = ""
    rule: str = ""
    feedback: str = ""
    score: float | None = None
    low: float | None = None
    high: float | None = None
    num_seeds: int | None = None
    advice: str = ""
    tokens: int | None = None
    dollars: float | None = None
    difference: str = ""
    program: str = ""
    diff: str = ""
    env_steps: Sequence[int] = ()
    curve: Sequence[float] = ()
    td_error: Sequence[float | None] = ()


@dataclasses.dataclass(frozen=True)
class CostRow:
    """What one role of the language model cost.

    Attributes:
        role: "coder" or "evaluator".
        model: Model name.
        calls: Answered calls.
        prompt_tokens: Tokens sent, cached ones included.
        output_tokens: Tokens received, thinking included.
        dollars: None where the price is unknown.
        seconds: Wall time of the calls; None where unknown.
        recorded: The answers came from recorded transcripts: nothing was spent now.
        failed: Attempts that gave no answer, retried ones included.
    """

    role: str
    model: str
    calls: int
    prompt_tokens: int
    output_tokens: int
    dollars: float | None = None
    seconds: float | None = None
    recorded: bool = False
    failed: int = 0


@dataclasses.dataclass(frozen=True)
class EpisodeFigure:
    """One greedy episode of T steps, for drawing.

    Attributes:
        frames: T or T + 1 images [H, W, 3] uint8, frame t showing the state acted in at t; or ().
        credits: [T, N], ∂q_tot/∂q_i at step t.
        agent_names: N names.
        rewards: [T] team reward, unscaled; or None.
        q_tot: [T]; or None.
        title: Such as "tfcaf, seed 0".
    """

    frames: Sequence[np.ndarray]
    credits: np.ndarray
    agent_names: Sequence[str]
    rewards: np.ndarray | None = None
    q_tot: np.ndarray | None = None
    title: str = ""


@dataclasses.dataclass(frozen=True)
class ReportData:
    """Everything `write_report` draws; leave out what there is not.

    Attributes:
        task: Task id.
        runs: One per mixer; differences are reported against the first.
        score: What `return` is called: "return", "points", ….
        landmarks: Known scores of the task by name, such as `{"random": -75.0}`.
        outcome: The task's second measure, shown beside the score; None where it has none.
        tfcaf: The chosen function.
        candidates: Lineage of the design loop, in order.
        episodes: Greedy episodes to draw, the chosen TFCAF's first.
        costs: Cost by role.
        agreement: Round number to Kendall's τ of the evaluator's and the measured ranking.
        command: The command line that made this.
        device: Such as "cpu x2 (…)" or "1 x NVIDIA H200".
        precision: Matmul precision.
        versions: Package name to version.
        config: The full configuration.
        created: Time stamp, ISO 8601.
        notes: Sentences for the reader, such as "interrupted by Ctrl-C after 40 %".
    """

    task: str
    runs: Sequence[RunSummary] = ()
    score: str = "return"
    landmarks: Mapping[str, float] = dataclasses.field(default_factory=dict)
    outcome: Measure | None = None
    tfcaf: TfcafSummary | None = None
    candidates: Sequence[CandidateRow] = ()
    episodes: Sequence[EpisodeFigure] = ()
    costs: Sequence[CostRow] = ()
    agreement: Mapping[str, float] = dataclasses.field(default_factory=dict)
    command: str = ""
    device: str = ""
    precision: str = ""
    versions: Mapping[str, str] = dataclasses.field(default_factory=dict)
    config: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    created: str = ""
    notes: Sequence[str] = ()
