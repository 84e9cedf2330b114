"""From the text of a response to a function that JAX runs: the translator's front door.

    text ─► code blocks ─► parse, closed grammar ─► interpret on shapes ─► jnp source ─► compile

The model's Python is parsed and never executed; what is compiled is source that we emitted.
Imports the modules below it. Called by `synthesis`, `verify`, the command line and artifacts.
"""

from __future__ import annotations

import ast
import functools
from collections.abc import Callable
from typing import Any, TypeVar

from qllm_jax.tfcaf.code import words
from qllm_jax.tfcaf.comments import read_comments
from qllm_jax.tfcaf.contract import Dialect, Translation, TranslationError
from qllm_jax.tfcaf.dialect import detect_dialect, prefers_batched, says_batched, says_unbatched
from qllm_jax.tfcaf.grammar import parse
from qllm_jax.tfcaf.interpreter import Reading, read_function, wrapped_entry
from qllm_jax.tfcaf.load import compile_source
from qllm_jax.tfcaf.module_level import check_module_level, entry_functions
from qllm_jax.tfcaf.response import read_response

T = TypeVar("T")


def translate(text: str, num_agents: int, state_dim: int) -> Translation:
    """Translate a TFCAF to jnp.

    Args:
        text: A whole chat response, or bare source; torch, numpy or jnp.
        num_agents: N.
        state_dim: D.

    Returns:
        The canonical unbatched function, its source and where it came from.

    Raises:
        TranslationError: The text is refused; says why and what to write instead.
    """
    blocks = read_response(text)
    failure: TranslationError | None = None
    for block in blocks:
        try:
            reading, dialect = _translate_source(block.source, num_agents, state_dim)
        except TranslationError as error:
            if failure is None or failure.rule == "no-function":
                failure = error
            if error.rule != "no-function":
                break
            continue
        notes = (*((block.note,) if block.note else ()), *reading.notes)
        return Translation(
            source=reading.source,
            dialect=dialect,
            function=_guarded(functools.partial(compile_source, reading.source)),
            original=block.source,
            num_agents=num_agents,
            state_dim=state_dim,
            batched=reading.batched,
            notes=notes,
        )
    raise failure or TranslationError(
        "no-function",
        "The response holds no Python function.",
        "Answer with one function of (agent_qs, state) in a Python code block.",
    )


def _translate_source(source: str, num_agents: int, state_dim: int) -> tuple[Reading, Dialect]:
    tree = parse(source)
    comments = read_comments(source)
    dialect = detect_dialect(tree)
    wrapped = wrapped_entry(tree)
    if wrapped is not None:
        name, batched = wrapped
        entry = next(n for n in tree.body if isinstance(n, ast.FunctionDef) and n.name == name)
        reading = _guarded(
            lambda: read_function(
                tree, entry, dialect, batched, num_agents, state_dim, comments, single_row=True
            )
        )
        return Reading(reading.source, False, reading.notes), dialect
    check_module_level(tree, dialect)
    entry, notes = entry_functions(tree)
    reading = _read(tree, entry, dialect, num_agents, state_dim, comments)
    return Reading(reading.source, reading.batched, (*notes, *reading.notes)), dialect


def _read(
    tree: ast.Module,
    entry: ast.FunctionDef,
    dialect: Dialect,
    num_agents: int,
    state_dim: int,
    comments: Any,
) -> Reading:
    """Read the function batched and unbatched; where both hold, the dialect's habit decides.

    A torch function is read unbatched only where its text says so, and a NumPy function only
    where its text says nothing of a batch: one that mixes the rows of a batch by mistake would
    pass as a sound function of one row.
    """
    preferred = prefers_batched(entry, dialect)
    readings = [preferred, not preferred]
    if (dialect == "torch" and not says_unbatched(entry)) or (
        dialect == "numpy" and says_batched(entry)
    ):
        readings = [True]
    failures: list[TranslationError] = []
    for batched in readings:
        try:
            reading = _guarded(
                lambda batched=batched: read_function(  # type: ignore[misc]
                    tree, entry, dialect, batched, num_agents, state_dim, comments
                )
            )
        except TranslationError as error:
            failures.append(error)
            if error.rule in _DECIDED:
                break
            continue
        row = reading.source.rstrip().endswith(")[0]")
        if failures and failures[0].rule == "mixes-batch" and row and not batched:
            break  # a row of shape (1,) is one sample of a batch, not a q_tot
        return reading
    raise next((error for error in failures if error.rule in _DECIDED), failures[0])


_DECIDED = frozenset(  # refusals that no other reading of the shapes can lift
    words(
        "import underscore unknown-operation io callback random learnable autograd while "
        "memory builtin undefined-name recursion too-big too-deep with decorator string "
        "mixed-dialect global"
    )
)


def _guarded(read: Callable[[], T]) -> T:
    """Turn a stack that ran out, and a mistake of ours, into a refusal."""
    try:
        return read()
    except TranslationError:
        raise
    except (RecursionError, MemoryError):
        raise TranslationError(
            "too-deep", "The function nests too deeply.", "Split it into named steps."
        ) from None
    except Exception as error:  # one candidate must not end a run
        raise TranslationError(
            "not-understood",
            f"The translator could not follow this function ({type(error).__name__}).",
            "Write it in plainer steps.",
        ) from error
