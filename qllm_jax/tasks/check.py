"""Look a task over before anybody trains on it: `qllm-jax tasks check NAME_OR_PATH`."""

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from qllm_jax.errors import UserError
from qllm_jax.tasks.layout import layout_errors, tiling_errors
from qllm_jax.tasks.own import is_import_path, load_env, task_of_env
from qllm_jax.tasks.registry import get_task, task_prompt
from qllm_jax.tasks.rollout import Rollout, finished_episodes, rollout
from qllm_jax.tasks.spec import TaskSpec

_NUM_ENVS = 4
_MOST_SHOWN = 4


@dataclasses.dataclass(frozen=True)
class TaskCheck:
    """One question and its answer.

    Attributes:
        name: Such as "layout".
        passed: Whether training may rely on it.
        detail: What was found; where it failed, also what to do.
    """

    name: str
    passed: bool
    detail: str


@dataclasses.dataclass(frozen=True)
class TaskReport:
    """What `check_task` found.

    Attributes:
        task: Name or path.
        checks: In the order they were made; nothing is checked after the environment failed to
            run.
        prompt: What the coder would be told; "" where it could not be worked out.
    """

    task: str
    checks: tuple[TaskCheck, ...]
    prompt: str

    @property
    def passed(self) -> bool:
        """Whether every check passed."""
        return all(check.passed for check in self.checks)


def check_task(name: str, **env_kwargs: Any) -> TaskReport:
    """Check the interface, play at random, and compare the layout with the environment's state.

    Args:
        name: Task id, `package.module:Class` or `file.py:Class`.
        env_kwargs: What the task takes.

    Raises:
        UserError: there is no such task or class.
    """
    checks: list[TaskCheck] = []
    if is_import_path(name):
        raw = load_env(name, **env_kwargs)
        checks += [*_interface(raw)]
        if not all(check.passed for check in checks):
            return TaskReport(name, tuple(checks), "")
        try:
            spec = task_of_env(raw, name, env_kwargs)
        except UserError as error:
            return TaskReport(name, (*checks, TaskCheck("task", False, str(error))), "")
        played = _play(spec)
        checks += _raw_checks(raw, spec, played)
    else:
        spec = get_task(name, **env_kwargs)
        played = _play(spec)
    checks += _task_checks(spec, played)
    return TaskReport(name, tuple(checks), task_prompt(spec))


def format_task_report(report: TaskReport) -> str:
    """The report as a person reads it: what failed and why, then what the coder is told."""
    width = max(len(check.name) for check in report.checks)
    lines = [
        f"{'ok  ' if check.passed else 'FAIL'}  {check.name.ljust(width)}  {check.detail}"
        for check in report.checks
    ]
    return "\n".join([*lines, "", report.prompt]).rstrip() + "\n"


def _interface(raw: Any) -> Iterator[TaskCheck]:
    """What must be there before anything can run."""
    missing = [m for m in ("reset", "step_env", "get_obs", "agents") if not hasattr(raw, m)]
    yield TaskCheck(
        "interface",
        not missing,
        f"{type(raw).__name__} lacks {', '.join(missing)}; derive it from JaxMARL's MultiAgentEnv."
        if missing
        else f"{len(raw.agents)} agents: {', '.join(map(str, raw.agents))}",
    )
    if missing:
        return
    strings = all(isinstance(agent, str) for agent in raw.agents)
    yield TaskCheck("agent names", strings, "strings" if strings else "agents must be strings")
    yield _attempt("reset", lambda: _reset_detail(raw))
    yield _attempt("step_env", lambda: _step_detail(raw))


def _attempt(name: str, what: Callable[[], str]) -> TaskCheck:
    """A check that passes with what `what` returns and fails with what it raises."""
    try:
        return TaskCheck(name, True, what())
    except Exception as error:
        first = str(error).strip().splitlines()
        return TaskCheck(name, False, f"{type(error).__name__}: {first[0] if first else ''}")


def _reset_detail(raw: Any) -> str:
    obs, inner = jax.eval_shape(raw.reset, jax.random.key(0))
    absent = [agent for agent in raw.agents if agent not in obs]
    if absent:
        raise UserError(f"reset returns no observation for {absent}.")
    again = jax.eval_shape(raw.get_obs, inner) if not _is_hidden_obs(raw) else obs
    if any(again[agent].shape != obs[agent].shape for agent in raw.agents):
        raise UserError("get_obs(state) and reset return observations of different shapes.")
    return f"{len(jax.tree.leaves(inner))} arrays of state, traced without running"


def _is_hidden_obs(raw: Any) -> bool:
    """Where the global state is the environment's own, get_obs need not follow from it."""
    return hasattr(raw, "get_world_state")


def _step_detail(raw: Any) -> str:
    def one_step(key):
        _, inner = raw.reset(key)
        actions = {agent: jnp.zeros((), jnp.int32) for agent in raw.agents}
        return inner, raw.step_env(key, inner, actions)

    before, (_, after, rewards, dones, _) = jax.eval_shape(one_step, jax.random.key(0))
    if str(jax.tree.structure(before)) != str(jax.tree.structure(after)):
        raise UserError("step_env returns a state of another structure than reset does.")
    for (path, old), new in zip(
        jax.tree_util.tree_leaves_with_path(before), jax.tree.leaves(after), strict=True
    ):
        if (old.shape, old.dtype) != (new.shape, new.dtype):
            place = jax.tree_util.keystr(path).lstrip(".")
            raise UserError(
                f"{place} is {old.dtype}{list(old.shape)} after reset and "
                f"{new.dtype}{list(new.shape)} after step_env; shapes and dtypes must stay."
            )
    if "__all__" not in dones:
        raise UserError('step_env\'s dones need an entry "__all__".')
    lacking = [agent for agent in raw.agents if agent not in rewards]
    if lacking:
        raise UserError(f"step_env returns no reward for {lacking}.")
    return "state keeps its shapes and dtypes"


def _play(spec: TaskSpec) -> Rollout:
    num_slots = max(2 * (spec.env.episode_length + 1), 60)
    return rollout(spec.env, jax.random.key(0), _NUM_ENVS, min(num_slots, 1000))


def _raw_checks(raw: Any, spec: TaskSpec, played: Rollout) -> Iterator[TaskCheck]:
    """What only the environment itself can be asked."""
    yield _spaces(raw, spec, played)
    yield _auto_reset(raw, spec, played)
    yield _done_in_time(raw, spec)


def _spaces(raw: Any, spec: TaskSpec, played: Rollout) -> TaskCheck:
    """Observations against the declared boxes."""
    wrong = []
    raw_obs, _ = jax.eval_shape(raw.reset, jax.random.key(0))
    for i, agent in enumerate(spec.agent_names):
        space = raw.observation_space(agent)
        shape = getattr(space, "shape", None)
        if shape is not None and tuple(np.atleast_1d(shape)) != raw_obs[agent].shape:
            wrong.append(f"{agent}: declared {shape}, observed {raw_obs[agent].shape}")
        if getattr(space, "low", None) is not None:
            values = np.asarray(played.steps.obs[:, :, i])
            low, high = np.min(np.asarray(space.low)), np.max(np.asarray(space.high))
            if values.min() < low or values.max() > high:
                seen = f"{values.min():.4g}..{values.max():.4g}"
                wrong.append(f"{agent}: {seen} seen, {low:.4g}..{high:.4g} declared")
    detail = "; ".join(wrong) or "observations lie in their spaces"
    return TaskCheck("spaces", not wrong, detail)


def _auto_reset(raw: Any, spec: TaskSpec, played: Rollout) -> TaskCheck:
    """Whether `step_env` hands out the next episode's first state at the end of an episode."""
    over = np.asarray(played.steps.terminated | played.steps.truncated)
    counters = [
        (jax.tree_util.keystr(path).lstrip("."), np.asarray(leaf))
        for path, leaf in jax.tree_util.tree_leaves_with_path(played.env_states.inner)
        if leaf.ndim == 2 and jnp.issubdtype(leaf.dtype, jnp.integer)
    ]
    num_steps = np.asarray(played.env_states.num_steps)
    for name, values in counters:
        if np.array_equal(values[~over], num_steps[~over]) and over.any():
            resets = bool((values[over] < num_steps[over]).any())
            text = (
                f"step_env starts the next episode by itself ({name} is 0 where an episode ended); "
                "leave that to `step`, the last state of an episode is needed for learning."
            )
            return TaskCheck("no auto-reset", not resets, text if resets else f"by {name}")
    return TaskCheck("no auto-reset", True, "no step counter in the state to tell by")


def _done_in_time(raw: Any, spec: TaskSpec) -> TaskCheck:
    """Whether the environment's own time limit, if it has one, is the declared one."""
    limit = spec.env.episode_length

    def first_done(key):
        _, inner = raw.reset(key)

        def body(carry, index):
            inner, first = carry
            actions = {agent: jnp.zeros((), jnp.int32) for agent in raw.agents}
            _, inner, _, dones, _ = raw.step_env(jax.random.fold_in(key, index), inner, actions)
            first = jnp.where((first == 0) & dones["__all__"], index + 1, first)
            return (inner, first), None

        return jax.lax.scan(body, (inner, jnp.zeros((), jnp.int32)), jnp.arange(limit + 2))[0][1]

    keys = jax.random.split(jax.random.key(2), _NUM_ENVS)
    first = np.asarray(jax.jit(jax.vmap(first_done))(keys))
    if (first == limit + 1).any():
        return TaskCheck(
            "time limit",
            False,
            f"done comes in step {limit + 1}, the declared limit is {limit}: one step late.",
        )
    return TaskCheck("time limit", True, f"{limit} steps")


def _task_checks(spec: TaskSpec, played: Rollout) -> Iterator[TaskCheck]:
    """What holds for any task, from its stacked arrays."""
    env, steps = spec.env, played.steps
    finished = finished_episodes(spec, played)
    returns = finished.returns[finished.first]
    mean = f", mean return {returns.mean():.4g}" if len(returns) else ""
    yield TaskCheck(
        "jit and vmap",
        True,
        f"{_NUM_ENVS} environments, {steps.reward.shape[0]} slots, {len(finished.returns)} "
        f"episodes of {_extent(finished.lengths)} steps{mean}",
    )
    broken = [
        name
        for name in ("obs", "state", "reward")
        if not np.isfinite(np.asarray(getattr(steps, name))).all()
    ]
    yield TaskCheck(
        "finite", not broken, f"not finite: {', '.join(broken)}" if broken else "obs, state, reward"
    )
    legal = bool(np.asarray(steps.avail_actions).any(axis=-1).all())
    yield TaskCheck(
        "legal actions", legal, "always at least one" if legal else "an agent has none: allow one"
    )
    yield _layout_check(spec, played)
    told = "There is no task text" not in task_prompt(spec)
    yield TaskCheck("task text", told, "given" if told else "give `task_text` or a docstring")
    yield TaskCheck(
        "sizes", True, f"N = {env.num_agents}, A = {env.num_actions}, D = {env.state_dim}"
    )


def _extent(lengths: np.ndarray) -> str:
    if len(lengths) == 0:
        return "0"
    low, high = int(lengths.min()), int(lengths.max())
    return str(low) if low == high else f"{low}..{high}"


def _layout_check(spec: TaskSpec, played: Rollout) -> TaskCheck:
    states = np.asarray(played.steps.state).reshape(-1, spec.env.state_dim)
    inner = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), played.env_states)
    errors = tiling_errors(spec.layout, spec.env.state_dim)
    errors = errors or layout_errors(spec.layout, inner, states)
    if errors:
        more = f" (and {len(errors) - _MOST_SHOWN} more)" if len(errors) > _MOST_SHOWN else ""
        return TaskCheck("layout", False, "; ".join(errors[:_MOST_SHOWN]) + more)
    unknown = [field.name for field in spec.layout if field.name.endswith("?")]
    detail = f"{len(spec.layout)} fields agree with the environment's state in {len(states)} slots"
    if unknown:
        detail += f"; not worked out: {', '.join(unknown[:_MOST_SHOWN])}: declare state_layout"
    return TaskCheck("layout", True, detail)
