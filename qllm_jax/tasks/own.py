"""A user's own environment as a task, named by an import path.

Needed: a JaxMARL `MultiAgentEnv` with string agents, discrete actions, `reset`, `step_env`,
`get_obs`, and a time limit `max_steps` (or `episode_length`). Everything else has a fallback:

    controlled_agents, opponent_policy(key, state, obs)   every agent is controlled
    team_reward(rewards, infos) -> []                      the controlled agents' sum
    get_world_state(state) -> [D]                          the observations, concatenated
    get_avail_actions(state) or get_legal_moves(state)     every action is legal
    is_terminal(state) -> [] bool                          done before the time limit
    state_layout() -> [Part, ...]                          derived from the environment's state
    task_text, action_names, interchangeable               the docstring, numbers, nobody
    render_frame(state) -> [H, W, 3] uint8                 no pictures
"""

import contextlib
import functools
import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from qllm_jax.envs.jaxmarl_adapter import make_team_env, memoryless
from qllm_jax.errors import UserError, closest_names
from qllm_jax.tasks.derive import derived_layout
from qllm_jax.tasks.layout import tile
from qllm_jax.tasks.lazy import jaxmarl
from qllm_jax.tasks.spec import StateField, TaskSpec


def is_import_path(name: str) -> bool:
    """Whether `name` is of the form `package.module:Class` or `file.py:Class`."""
    return ":" in name


def load_env(path: str, **env_kwargs: Any) -> Any:
    """Build the environment that `path` names.

    Args:
        path: `package.module:Class`, looked up from the current directory too, or
            `some/file.py:Class`.
        env_kwargs: The class's arguments.

    Raises:
        UserError: no such file, module or class, or the class refuses its arguments.
    """
    jaxmarl()
    module_name, _, attribute = path.rpartition(":")
    module = _module(path, module_name)
    if not hasattr(module, attribute):
        near = closest_names(attribute, [name for name in dir(module) if name[0] != "_"])
        hint = f" Did you mean {' or '.join(near)}?" if near else ""
        raise UserError(f"{module_name} has no {attribute!r}.{hint}")
    try:
        return getattr(module, attribute)(**env_kwargs)
    except (TypeError, ValueError, AssertionError) as error:
        raise UserError(f"{path} cannot be built with {env_kwargs}: {error}") from error


def _module(path: str, name: str) -> Any:
    if name.endswith(".py"):
        return _module_of_file(path, Path(name))
    with _current_directory_importable():
        try:
            return importlib.import_module(name)
        except ImportError as error:
            raise UserError(
                f"{path!r} cannot be imported: {error}. Install the package, or run where "
                f"{name.split('.')[0]!r} can be found, or give some/file.py:Class."
            ) from error


def _module_of_file(path: str, file: Path) -> Any:
    if not file.is_file():
        raise UserError(f"{path!r}: there is no file {str(file)!r}.")
    spec = importlib.util.spec_from_file_location(f"own_task_{file.stem}", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[module.__name__] = module  # dataclasses look their module up there
    spec.loader.exec_module(module)
    return module


@contextlib.contextmanager
def _current_directory_importable():
    here = str(Path.cwd())
    sys.path.insert(0, here)
    try:
        yield
    finally:
        sys.path.remove(here)


def own_task(path: str, **env_kwargs: Any) -> TaskSpec:
    """The task of a user's environment, with fallbacks for what it does not say.

    Raises:
        UserError: what `load_env` and the adapter refuse, or no time limit.
    """
    return task_of_env(load_env(path, **env_kwargs), path, env_kwargs)


def task_of_env(raw: Any, name: str, env_kwargs: dict[str, Any]) -> TaskSpec:
    """The task of an environment object; see the module for what it may offer."""
    world_state = getattr(raw, "get_world_state", None)
    is_terminal = getattr(raw, "is_terminal", None)
    opponent_policy = getattr(raw, "opponent_policy", None)
    agents = tuple(getattr(raw, "controlled_agents", raw.agents))
    env = make_team_env(
        raw,
        name=name,
        episode_length=_time_limit(raw, name),
        agents=agents,
        reward_fn=getattr(raw, "team_reward", None),
        state_fn=None if world_state is None else lambda inner, obs: world_state(inner),
        avail_fn=_avail_fn(raw),
        terminated_fn=None if is_terminal is None else lambda inner, done: is_terminal(inner),
        opponent=None if opponent_policy is None else memoryless(opponent_policy),
        done_at_limit_truncates=is_terminal is None,
    )
    actions = getattr(raw, "action_names", None) or tuple(
        f"action {i}" for i in range(env.num_actions)
    )
    render = getattr(raw, "render_frame", None)
    return TaskSpec(
        name=name,
        env=env,
        layout=_layout(raw, env, agents),
        agent_names=agents,
        action_names=tuple(actions),
        interchangeable=tuple(getattr(raw, "interchangeable", ())),
        env_kwargs=env_kwargs,
        text=_text(raw, name),
        render=None if render is None else lambda env_state: render(env_state.inner),
    )


def _time_limit(raw: Any, name: str) -> int:
    limit = getattr(raw, "episode_length", None) or getattr(raw, "max_steps", None)
    if not isinstance(limit, int) or limit < 1:
        raise UserError(
            f"{name} has no time limit. Give the environment a whole number `max_steps` (or "
            "`episode_length`): how many steps an episode may have."
        )
    return limit


def _avail_fn(raw: Any) -> Callable | None:
    """The method that says which actions are legal, if there is one that is implemented."""
    _, inner = jax.eval_shape(raw.reset, jax.random.key(0))
    for method in ("get_avail_actions", "get_legal_moves"):
        fn = getattr(raw, method, None)
        if fn is not None:
            with contextlib.suppress(NotImplementedError):
                jax.eval_shape(fn, inner)
                return fn
    return None


def global_state_fn(raw: Any, agents: tuple[str, ...]) -> Callable[[Any], jax.Array]:
    """`inner state -> [D]` without the adapter: what a derived layout is derived from."""
    if hasattr(raw, "get_world_state"):
        return lambda inner: jnp.asarray(raw.get_world_state(inner), jnp.float32)

    def concatenated(inner):
        obs = raw.get_obs(inner)
        return jnp.concatenate([jnp.ravel(obs[agent]) for agent in agents]).astype(jnp.float32)

    return concatenated


def _layout(raw: Any, env: Any, agents: tuple[str, ...]) -> tuple[StateField, ...]:
    if hasattr(raw, "state_layout"):
        return tile(raw.state_layout())
    blocks: list[tuple[str, int]] = [("state", env.state_dim)]
    if not hasattr(raw, "get_world_state"):
        obs, _ = jax.eval_shape(raw.reset, jax.random.key(0))
        blocks = [(agent, int(obs[agent].size)) for agent in agents]
    resets = jax.jit(jax.vmap(raw.reset))(jax.random.split(jax.random.key(0), 3))[1]
    stepped = functools.partial(_a_few_steps, env)
    inner = jax.tree.map(
        lambda *leaves: jnp.concatenate(leaves),
        resets,
        jax.jit(jax.vmap(stepped))(jax.random.split(jax.random.key(1), 3)),
    )
    return derived_layout(global_state_fn(raw, agents), inner, blocks)


def _a_few_steps(env: Any, key: jax.Array) -> Any:
    """The environment's own state after three random legal steps."""
    state, step = env.reset(key)
    for index in range(3):
        key_step = jax.random.fold_in(key, index)
        logits = jnp.where(step.avail_actions, 0.0, -jnp.inf)
        state, step = env.step(key_step, state, jax.random.categorical(key_step, logits))
    return state.inner


def _text(raw: Any, name: str) -> str:
    text = getattr(raw, "task_text", None) or inspect.cleandoc(type(raw).__doc__ or "")
    return text if text.lstrip().startswith("#") else f"# {name}\n\n{text}"
