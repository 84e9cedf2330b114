"""The coder–evaluator loop.

    propose K → translate → verify → repair → drop repeats → measure → review → choose → feedback

"QLLM: Do We Really Need a Mixing Network for Credit Assignment in Multi-Agent Reinforcement
Learning?", https://arxiv.org/abs/2504.12961, with what that loop lacks: errors go back to the
coder, training decides, and a killed run goes on where it stopped.
"""

import dataclasses
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

from qllm_jax.config import Config, config_to_mapping
from qllm_jax.errors import UserError
from qllm_jax.llm import Caps, Client, Ledger, RecordingClient, is_replay, with_ledger
from qllm_jax.llm.ledger import parse_prices
from qllm_jax.llm.transcripts import completion_from_json
from qllm_jax.synthesis.archive import Archive
from qllm_jax.synthesis.finish import finish
from qllm_jax.synthesis.journal import Journal
from qllm_jax.synthesis.measurement import MeasureFn
from qllm_jax.synthesis.result import SynthesisEvent, SynthesisResult
from qllm_jax.synthesis.rounds import RoundOutcome, parent_reflection, play_round
from qllm_jax.synthesis.session import Parent, Session
from qllm_jax.synthesis.tournament import make_measure
from qllm_jax.tasks import rollout_states
from qllm_jax.tasks.spec import TaskSpec
from qllm_jax.tfcaf import Translation
from qllm_jax.training import ChunkReport, mixer_scale
from qllm_jax.verify import VerificationReport, WorkerError, verify

_NUM_STATES = 256

OnEvent = Callable[[SynthesisEvent], None]


def generate(
    spec: TaskSpec,
    config: Config,
    client: Client,
    directory: Path,
    on_event: OnEvent | None = None,
    evaluate: MeasureFn | None = None,
) -> SynthesisResult:
    """Turn a task into a TFCAF.

    Args:
        spec: The task.
        config: Its `llm` and `synthesis` groups decide; the others configure measured training.
        client: Who answers; recorded automatically unless it replays.
        directory: Journal and transcripts of this run; an interrupted run in it is resumed.
        on_event: Called with every event, one at a time.
        evaluate: Trains arms; None is a tournament in one compiled program.

    Raises:
        UserError: Another run holds the directory, an answer is not recorded, a cap left no
            candidate, or no candidate was valid.
    """
    directory = Path(directory)
    journal = Journal(directory, _identity(spec, config, client))
    try:
        session, states = _open_session(spec, config, client, journal, on_event)
        scale = mixer_scale(config.mixer.scale, spec.env.num_agents)
        measure = None
        if config.synthesis.evaluator != "llm":
            measure = evaluate or make_measure(spec, config, scale, _progress(session))
        outcomes, stopped = _play(session, states, measure)
        session.tell("stopped", len(outcomes), text=stopped)
        if not any(outcome.chosen for outcome in outcomes):
            raise UserError(_nothing_valid(session, outcomes, stopped))
        return finish(session, outcomes, stopped, measure)
    finally:
        journal.close()


def _identity(spec: TaskSpec, config: Config, client: Client) -> dict[str, Any]:
    """What makes a run the same run; only caps may change between its parts."""
    values = config_to_mapping(config)
    free = {"max_tokens", "max_dollars", "max_calls", "max_seconds"}
    llm = {"coder_model", "evaluator_model", "temperature", "max_output_tokens"}
    return {
        "task": spec.name,
        "env_kwargs": dict(spec.env_kwargs),
        "provider": client.name,
        "synthesis": {key: item for key, item in values["synthesis"].items() if key not in free},
        "llm": {key: values["llm"][key] for key in sorted(llm)},
        "learner": values["learner"],
        "agent": values["agent"],
    }


def _open_session(
    spec: TaskSpec, config: Config, client: Client, journal: Journal, on_event: OnEvent | None
) -> tuple[Session, np.ndarray]:
    synthesis = config.synthesis
    caps = Caps(
        synthesis.max_tokens, synthesis.max_dollars, synthesis.max_calls, synthesis.max_seconds
    )

    def book(event: str, values: dict[str, Any]) -> None:
        journal.record(event, values, seconds=ledger.seconds)

    ledger = Ledger(caps, parse_prices(config.llm.prices), book=book)
    _restore(ledger, journal, client.name)
    if not is_replay(client.name):
        client = RecordingClient(client, journal.directory / "transcripts")
    states = rollout_states(spec, jax.random.key(0), _NUM_STATES)
    lock = threading.Lock()

    def tell(kind: str, round_number: int, candidate: str = "", text: str = "", **values: Any):
        if on_event is not None:
            with lock:
                on_event(SynthesisEvent(kind, round_number, candidate, text, values))

    def verify_fn(translation: Translation) -> VerificationReport:
        try:
            return verify(translation, states=states, igm=synthesis.igm, task=spec)
        except WorkerError as error:
            raise UserError(f"candidates cannot be verified here: {error}") from error

    session = Session(
        spec=spec,
        config=config,
        client=with_ledger(client, ledger),
        journal=journal,
        ledger=ledger,
        verify_fn=verify_fn,
        tell=tell,
    )
    return session, states


def _restore(ledger: Ledger, journal: Journal, provider: str) -> None:
    """Count the time and the calls of the run's earlier parts; a replay's calls are its answers."""
    for event in journal.events:
        ledger.pass_time(event["seconds"])
        asked = event["value"]
        if is_replay(provider) and isinstance(asked, dict) and "completion" in asked:
            done = completion_from_json(asked["completion"])
            ledger.restore(asked["purpose"], asked["model"], done.usage, provider, done.seconds)
    ledger.restore_booked(((item["step"], item["value"]) for item in journal.events), provider)


def _progress(session: Session) -> Callable[[str, ChunkReport], None]:
    def on_chunk(trained: str, report: ChunkReport) -> None:
        session.tell(
            "measuring",
            0,
            text=f"training {trained}: {report.chunk} of {report.num_chunks} evaluations",
            done=report.chunk / report.num_chunks,
        )

    return on_chunk


def _play(
    session: Session, states: np.ndarray, measure: MeasureFn | None
) -> tuple[list[RoundOutcome], str]:
    """All rounds, and why they ended."""
    synthesis = session.config.synthesis
    archive = Archive(states, tells_rules=synthesis.max_repairs > 0)
    parent: Parent | None = None
    outcomes: list[RoundOutcome] = []
    waited = 0
    for round_number in range(1, synthesis.num_rounds + 1):
        if session.ledger.seconds_left <= 0:
            return outcomes, "budget: synthesis.max_seconds is used up"
        outcome = play_round(session, round_number, archive, parent, measure, states)
        outcomes.append(outcome)
        archive.note(outcome.candidates, outcome.measured)
        waited = waited + 1 if _no_progress(parent, outcome) else 0
        parent = _next_parent(archive, parent, outcome, states, synthesis.memory)
        if outcome.stopped:
            return outcomes, outcome.stopped
        if waited >= synthesis.patience:
            return outcomes, f"no progress in {waited} rounds"
    return outcomes, "rounds"


def _no_progress(parent: Parent | None, outcome: RoundOutcome) -> bool:
    if outcome.chosen is None:
        return True
    return parent is not None and outcome.chosen.name == parent.candidate.name


def _next_parent(
    archive: Archive,
    parent: Parent | None,
    outcome: RoundOutcome,
    states: np.ndarray,
    memory: int,
) -> Parent | None:
    history = archive.history(memory)
    if outcome.chosen is None or not outcome.reason:
        return dataclasses.replace(parent, history=history) if parent is not None else None
    return Parent(
        candidate=outcome.chosen,
        reflection=parent_reflection(outcome, states),
        inspiration=archive.inspiration(outcome.chosen.name),
        advice=outcome.advice,
        history=history,
    )


def _nothing_valid(session: Session, outcomes: list[RoundOutcome], stopped: str) -> str:
    why = "; ".join(
        f"{item.name} {item.verdict}: {item.rule or item.error}"
        for outcome in outcomes
        for item in outcome.candidates
    )
    return (
        f"no candidate for {session.spec.name} passed verification ({why or stopped}). The answers "
        f"and what refused them are in {session.journal.path}. Raise synthesis.num_rounds or "
        "synthesis.max_repairs, use a stronger llm.coder_model, or relax synthesis.igm."
    )
