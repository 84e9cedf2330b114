"""What is to be solved: environments with an executable description of their state."""

from qllm_jax.tasks.check import TaskReport, check_task, format_task_report
from qllm_jax.tasks.registry import get_configured_task, get_task, task_names, task_prompt
from qllm_jax.tasks.rollout import rollout_states
from qllm_jax.tasks.spec import Outcome, StateField, TaskSpec
from qllm_jax.tasks.table import tasks_table

__all__ = [
    "Outcome",
    "StateField",
    "TaskReport",
    "TaskSpec",
    "check_task",
    "format_task_report",
    "get_configured_task",
    "get_task",
    "rollout_states",
    "task_names",
    "task_prompt",
    "tasks_table",
]
