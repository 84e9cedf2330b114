"""`verify`: the gates after translation, in order; a later one runs only if the earlier held."""

import time
from collections.abc import Callable
from typing import Any, Protocol

import jax
import numpy as np

from qllm_jax.errors import UserError, unknown_name
from qllm_jax.tasks import get_task, rollout_states
from qllm_jax.tasks.spec import TaskSpec
from qllm_jax.verify import credit, numeric, static
from qllm_jax.verify.igm import Analysis, analyse, igm_check
from qllm_jax.verify.measurement import Measurement, measurement_of
from qllm_jax.verify.points import SAMPLES, Points, Sample, check_states, make_points
from qllm_jax.verify.pool import POOL, WorkerPool, WorkerStopped
from qllm_jax.verify.report import Check, IgmMode, VerificationReport
from qllm_jax.verify.worker import describe, trace

_MOST_NUMBERS = 1 << 24  # in one batch of the child, and in the states that are made up
_MOST_INPUTS = 1 << 17  # agents and state together; a coloured picture of 200 by 200 fits
_IGM_MODES = ("enforce", "report", "off")


class Verifiable(Protocol):
    """What is read of a `Translation` or an `Artifact`."""

    @property
    def source(self) -> str:
        """Standalone jnp source."""
        ...

    @property
    def num_agents(self) -> int:
        """N."""
        ...

    @property
    def state_dim(self) -> int:
        """D."""
        ...


def verify(
    translation: Verifiable,
    states: Any = None,
    igm: IgmMode = "report",
    task: str | TaskSpec | None = None,
    *,
    num_states: int = 256,
    reference: Callable[[np.ndarray, np.ndarray], Any] | None = None,
    timeout_s: float = 60.0,
    pool: WorkerPool = POOL,
) -> VerificationReport:
    """Ask every question about a TFCAF; run it for the first time, in a limited child.

    Args:
        translation: A `Translation` or an `Artifact`; its `source` is what is verified.
        states: `[K, D]` states to try; None takes the task's, or random ones without a task.
        igm: "enforce" fails where a credit is negative, "report" says so, "off" does not look.
        task: Adds the task's rollout states, edge states, state ranges and symmetries.
        num_states: K where `states` is None; at least 16 are taken, and no more than fit into
            16 million numbers.
        reference: The original as `([B, N], [B, D]) -> [B]`, run in this process, or None.
        timeout_s: Wall-clock limit on the numeric run; the child is killed past it.
        pool: Where the child comes from.

    Raises:
        UserError: The arguments do not fit together.
        WorkerError: The child process cannot be started on this machine.
    """
    started = time.perf_counter()
    if igm not in _IGM_MODES:
        raise unknown_name("IGM mode", str(igm), _IGM_MODES)
    spec = _spec_of(task, translation)
    inputs = translation.num_agents + translation.state_dim
    if inputs > _MOST_INPUTS:
        raise UserError(
            f"{translation.num_agents:,} agents and a state of {translation.state_dim:,} values "
            f"are {inputs:,} numbers; at most {_MOST_INPUTS:,} can be verified. Check both sizes."
        )
    given = None if states is None else check_states(states, translation.state_dim)
    if num_states < 1:
        raise UserError(f"num_states is {num_states}; ask for at least 1.")

    def report(checks: list[Check], statement: str = "not checked") -> VerificationReport:
        return VerificationReport(tuple(checks), statement, time.perf_counter() - started)

    checks, value_jaxpr, credit_jaxpr = _static_gate(translation)
    if not all(check.passed for check in checks):
        return report(checks)
    analysis = analyse(credit_jaxpr, spec.layout if spec is not None else ())
    points = _points(translation, given, spec, num_states)
    measured = _measure(translation, points, analysis, value_jaxpr, timeout_s, pool)
    if isinstance(measured, Check):
        return report([*checks, measured])
    checks.append(Check("execution", True, f"ran on {len(points.agent_qs)} points."))
    found, statement = _numeric_gate(points, measured, analysis, igm, reference)
    return report([*checks, *found], statement)


def _spec_of(task: str | TaskSpec | None, translation: Verifiable) -> TaskSpec | None:
    if task is None:
        return None
    spec = get_task(task) if isinstance(task, str) else task
    wanted = (spec.env.num_agents, spec.env.state_dim)
    if wanted != (translation.num_agents, translation.state_dim):
        raise UserError(
            f"the function was translated for {translation.num_agents} agents and a state of "
            f"{translation.state_dim} values, but {spec.name} has {wanted[0]} and {wanted[1]}. "
            "Translate it for the task's sizes."
        )
    return spec


def check_program(translation: Verifiable) -> tuple[Check, ...]:
    """The second gate alone: traced, walked and costed, without computing anything."""
    return tuple(_static_gate(translation)[0])


def _static_gate(translation: Verifiable) -> tuple[list[Check], Any, Any]:
    """Checks of the second gate, and the traced value and credit programs where there are any."""
    try:
        value, both = trace(translation.source, translation.num_agents, translation.state_dim)
    except Exception as error:
        text = " ".join(str(error).split())[:400]
        detail = f"the function cannot be traced: {type(error).__name__}: {text} Fix that line."
        return [Check("traceable", False, detail)], None, None
    checks = [
        Check("traceable", True, "traced for value and credit."),
        *static.output_checks(value),
        static.primitives_check(*(j for j in (value, both) if j is not None)),
    ]
    if both is not None:
        sizes = (translation.num_agents, translation.state_dim)
        checks.append(static.size_check(value, both, *sizes))
    return checks, value, both


def _points(
    translation: Verifiable, states: np.ndarray | None, spec: TaskSpec | None, num_states: int
) -> Points:
    state_dim = translation.state_dim
    inputs = translation.num_agents + state_dim
    num_states = max(16, min(num_states, _MOST_NUMBERS // (SAMPLES * inputs)))
    if states is None and spec is not None:
        return _task_points(spec, num_states)
    return make_points(translation.num_agents, state_dim, states, spec, num_states)


_task_points_of: dict[tuple[int, int], tuple[TaskSpec, Points]] = {}


def _task_points(spec: TaskSpec, num_states: int) -> Points:
    """Points of a task's own rollouts; made once per task, because a rollout compiles."""
    key = (id(spec), num_states)
    if key not in _task_points_of:
        states = rollout_states(spec, jax.random.key(0), num_states)
        points = make_points(spec.env.num_agents, spec.env.state_dim, states, spec)
        _task_points_of[key] = (spec, points)  # holding the spec keeps its id its own
    return _task_points_of[key][1]


def _measure(
    translation: Verifiable,
    points: Points,
    analysis: Analysis,
    value_jaxpr: Any,
    timeout_s: float,
    pool: WorkerPool,
) -> Measurement | Check:
    """The numeric run in the child; a failed `Check` where it did not come to an end."""
    largest = static.cost(value_jaxpr.jaxpr).largest
    named = [name for name in ("states", "edge") if name in points.groups]
    firsts = [int(points.rows_of(Sample.NORMAL, name)[0]) for name in named]
    last = int(points.rows_of(Sample.UNIFORM)[-1])
    single = tuple(dict.fromkeys([*firsts, last]))
    header = {
        "kind": "measure",
        "source": translation.source,
        "num_agents": translation.num_agents,
        "state_dim": translation.state_dim,
        "rows": int(np.clip(_MOST_NUMBERS // max(largest, 1), 8, 512)),
        "single": list(single),
        "check_indices": bool(analysis.loose_indices),
    }
    arrays = {"agent_qs": points.agent_qs, "states": points.states}
    try:
        answer, measured = pool.ask(header, arrays, timeout_s)
        if "error" not in answer:
            digest = describe(value_jaxpr)
            return measurement_of(answer, measured, points, single, digest)
        reason = f"{answer['error']}: {' '.join(str(answer['message']).split())[:400]}"
    except WorkerStopped as stopped:
        reason = stopped.reason
        if stopped.timed_out:
            reason = f"it did not finish within {timeout_s:g} s and was stopped"
    except (KeyError, ValueError) as error:
        reason = f"its answer could not be used ({error})"
    detail = (
        f"the first numeric run failed: {reason}. Use fewer and smaller arrays and shorter loops, "
        "and only operations that every backend has."
    )
    return Check("execution", False, detail)


def _numeric_gate(
    points: Points,
    measured: Measurement,
    analysis: Analysis,
    igm: IgmMode,
    reference: Callable[[np.ndarray, np.ndarray], Any] | None = None,
) -> tuple[list[Check], str]:
    """Every numeric check in order, and what is said about IGM."""
    checks = [
        *numeric.finite_checks(points, measured),
        numeric.index_check(points, measured),
        numeric.row_check(points, measured),
        numeric.determinism_check(points, measured),
        numeric.agreement_check(points, measured),
    ]
    if reference is not None:
        checks.append(numeric.reference_check(points, measured, reference))
    checks += [
        credit.credited_check(points, measured),
        *credit.scale_checks(points, measured),
        credit.constant_credit_check(points, measured),
        credit.state_check(points, measured, analysis),
    ]
    symmetry = credit.equivariance_check(points, measured)
    if symmetry is not None:
        checks.append(symmetry)
    statement = "not checked"
    if igm != "off":
        check, statement = igm_check(points, measured, analysis, igm)
        checks.append(check)
    return checks, statement
