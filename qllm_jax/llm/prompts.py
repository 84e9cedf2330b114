"""Prompt templates: Markdown files in `prompts/` with `$name` placeholders, filled strictly."""

import functools
import string
from pathlib import Path

from qllm_jax.errors import UserError
from qllm_jax.paths import data_dir


def prompt_dir() -> Path:
    """Where templates, task texts and recorded transcripts live."""
    return data_dir("prompts")


@functools.cache
def _template(name: str) -> string.Template:
    path = prompt_dir() / f"{name}.md"
    try:
        return string.Template(path.read_text("utf-8").strip() + "\n")
    except OSError as error:
        raise UserError(f"there is no prompt template {path}.") from error


def fill_prompt(name: str, **values: str | int) -> str:
    """A template with every placeholder filled; `$$` stands for a dollar sign.

    Values are inserted as they are: a `$` in them means nothing.

    Raises:
        UserError: The template is missing or malformed.
        ValueError: A placeholder has no value, or a value no placeholder.
    """
    template = _template(name)
    if not template.is_valid():
        raise UserError(f"the prompt template {name}.md has a `$` that starts no placeholder.")
    wanted, given = set(template.get_identifiers()), set(values)
    if wanted != given:
        raise ValueError(
            f"prompt {name}.md: no value for {sorted(wanted - given)}, "
            f"no placeholder for {sorted(given - wanted)}."
        )
    return template.substitute({key: str(value).strip() for key, value in values.items()})


@functools.cache
def strategy_hints(kind: str) -> tuple[str, ...]:
    """The hints of `strategies_<kind>.md`, one per list item, in order."""
    text = (prompt_dir() / f"strategies_{kind}.md").read_text("utf-8")
    items = [item.strip() for item in text.split("\n- ")[1:]]
    return tuple(" ".join(item.split()) for item in items)
