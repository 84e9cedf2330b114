"""What the catalog says about a task before it is built."""

import dataclasses
import inspect
from collections.abc import Callable, Mapping
from typing import Any

from qllm_jax.tasks.spec import TaskSpec


@dataclasses.dataclass(frozen=True)
class Entry:
    """How to build a task.

    Attributes:
        make: Keyword arguments to `TaskSpec`; its signature says which there are. Keyword-only
            parameters (such as the name of a variant) are not offered to users.
        text: Prompt text `prompts/tasks/<text>.md`; None for the task's own name.
    """

    make: Callable[..., TaskSpec]
    text: str | None = None

    def kwargs(self) -> Mapping[str, Any]:
        """Names and defaults of the keyword arguments that a user may give."""
        parameters = inspect.signature(self.make).parameters.values()
        return {
            item.name: item.default
            for item in parameters
            if item.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD
        }
