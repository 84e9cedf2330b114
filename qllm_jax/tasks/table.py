"""The list of tasks, as `qllm-jax tasks` prints it."""

from qllm_jax.tasks.registry import get_task, task_names

HEADER = ("task", "agents", "actions", "obs", "state", "steps", "score", "known scores")


def tasks_table() -> list[tuple[str, ...]]:
    """A header row, then one row per task with its defaults."""
    return [HEADER, *(_row(name) for name in task_names())]


def _row(name: str) -> tuple[str, ...]:
    spec = get_task(name)
    env = spec.env
    known = ", ".join(f"{label} {value:.4g}" for label, value in spec.landmarks.items())
    return (
        name,
        str(env.num_agents),
        str(env.num_actions),
        "×".join(str(size) for size in env.obs_shape),
        str(env.state_dim),
        str(env.episode_length),
        spec.score if spec.outcome is None else f"{spec.score}, {spec.outcome.name}",
        known,
    )
