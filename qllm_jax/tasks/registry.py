"""From names to tasks."""

import functools
import json
from pathlib import Path
from typing import Any

import yaml

from qllm_jax.errors import UserError, unknown_name
from qllm_jax.paths import data_dir
from qllm_jax.tasks.catalog import ENTRIES
from qllm_jax.tasks.known_scores import with_known_scores
from qllm_jax.tasks.layout import layout_table
from qllm_jax.tasks.own import is_import_path, own_task
from qllm_jax.tasks.spec import TaskSpec


def task_names() -> list[str]:
    """Every task id, sorted; the families differ before the slash."""
    return sorted(ENTRIES)


def get_task(name: str, **env_kwargs: Any) -> TaskSpec:
    """Build a task; the same arguments give the same object.

    Args:
        name: Task id such as "mpe/simple_spread", or where an environment of the user's is to be
            found: `package.module:Class` or `file.py:Class`.
        env_kwargs: What the task's factory (or the class) takes, such as `num_agents=6`.

    Raises:
        UserError: unknown task or keyword (with the closest valid ones), or values that the
            environment refuses.
    """
    if is_import_path(name):
        return _build_own(name, json.dumps(env_kwargs, sort_keys=True))
    if name not in ENTRIES:
        raise unknown_name("task", name, ENTRIES)
    known = ENTRIES[name].kwargs()
    for key in env_kwargs:
        if key not in known:
            raise unknown_name(f"setting of {name}", key, known)
    return _build(name, json.dumps(env_kwargs, sort_keys=True))


def get_configured_task(name: str) -> TaskSpec:
    """The task as its shipped configuration, `configs/task/<name>.yaml`, sets it up.

    It is what commands train on and tell the coder about; `get_task` alone takes the factory's own
    defaults.

    Raises:
        UserError: As `get_task`.
    """
    return get_task(name, **_configured_kwargs(data_dir("configs") / "task" / f"{name}.yaml"))


def _configured_kwargs(path: Path) -> dict[str, Any]:
    """`task.env_kwargs` of a configuration file, over those of the groups in its defaults list."""
    settings = yaml.safe_load(path.read_text()) if path.is_file() else {}
    kwargs: dict[str, Any] = {}
    for entry in settings.get("defaults", []):
        if entry != "_self_":
            ((group, option),) = entry.items()
            kwargs |= _configured_kwargs(data_dir("configs") / group.strip("/") / f"{option}.yaml")
    return kwargs | settings.get("task", {}).get("env_kwargs", {})


@functools.cache
def _build(name: str, env_kwargs: str) -> TaskSpec:
    kwargs = json.loads(env_kwargs)
    try:
        return with_known_scores(ENTRIES[name].make(**kwargs))
    except (AssertionError, TypeError, ValueError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"{name} cannot be built with {kwargs}: {error}") from error


@functools.cache
def _build_own(path: str, env_kwargs: str) -> TaskSpec:
    return own_task(path, **json.loads(env_kwargs))


def task_prompt(spec: TaskSpec) -> str:
    """What a coder is told about the task: its text, then map, facts and layout from the code."""
    env = spec.env
    path = data_dir("prompts") / "tasks" / f"{_text_name(spec.name)}.md"
    if spec.text is not None:
        text = spec.text.strip()
    elif path.is_file():
        text = path.read_text(encoding="utf-8").strip()
    else:
        text = f"# {spec.name}\n\n(There is no task text; the layout below is all that is known.)"
    if spec.drawing is not None:
        text += f"\n\n{spec.drawing()}"
    return f"{text}\n\n{_facts(spec)}\n\n## State layout, D = {env.state_dim}\n\n" + (
        f"`state[start:stop]`, stop not included, {len(spec.layout)} fields that cover every "
        f"index once.\n\n{layout_table(spec)}\n"
    )


def _text_name(name: str) -> str:
    entry = ENTRIES.get(name)
    return entry.text if entry is not None and entry.text is not None else name


def _facts(spec: TaskSpec) -> str:
    env = spec.env
    lines = [
        f"- N = {env.num_agents} controlled agents, in this order: {', '.join(spec.agent_names)}.",
        f"- D = {env.state_dim} numbers of state, float32.",
        f"- {env.num_actions} actions: "
        + ", ".join(f"{i} {action}" for i, action in enumerate(spec.action_names))
        + ".",
        f"- Episodes of {'exactly' if env.fixed_length else 'at most'} {env.episode_length} steps.",
    ]
    groups = [group for group in spec.interchangeable if len(group) > 1]
    if groups:
        named = "; ".join(", ".join(spec.agent_names[i] for i in group) for group in groups)
        lines.append(f"- Interchangeable agents: {named}.")
    elif env.num_agents > 1:
        lines.append("- No two agents are interchangeable.")
    if spec.env_kwargs:
        settings = ", ".join(f"{key} = {value}" for key, value in spec.env_kwargs.items())
        lines.append(f"- Settings: {settings}.")
    return "## Facts\n\n" + "\n".join(lines)
