"""Finding candidates that are the same: one program after renaming, or equal values and credits.

Called by `archive`.
"""

import ast

import jax
import jax.numpy as jnp
import numpy as np

from qllm_jax.tfcaf import Translation

_TOLERANCE = 1e-4


def canonical_program(source: str) -> str:
    """A program with its own names numbered in order of appearance and its docstrings dropped."""
    tree = ast.parse(source)
    imported = {
        (alias.asname or alias.name).partition(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }
    numbers: dict[str, str] = {}

    def renamed(name: str) -> str:
        return name if name in imported else numbers.setdefault(name, f"v{len(numbers)}")

    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.Module) and ast.get_docstring(node) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            node.id = renamed(node.id)
        elif isinstance(node, ast.arg):
            node.arg = renamed(node.arg)
            node.annotation = None
        elif isinstance(node, ast.FunctionDef):
            node.name = renamed(node.name)
            node.returns = None
    return ast.dump(tree)


def outputs_on(function: Translation, states: np.ndarray) -> np.ndarray:
    """Values and credits on fixed states and fixed random values, `[K, 1 + N]`."""
    keys = jax.random.key(20_250_412)
    agent_qs = jax.random.normal(keys, (len(states), function.num_agents))
    value_and_credit = jax.jit(jax.vmap(jax.value_and_grad(function.function)))
    values, credits = value_and_credit(agent_qs, jnp.asarray(states))
    return np.concatenate([np.asarray(values)[:, None], np.asarray(credits)], axis=1)


class Duplicates:
    """The distinct functions of a run, by candidate name."""

    def __init__(self, states: np.ndarray):
        """Compare outputs on these `[K, D]` states."""
        self._states = states
        self._programs: dict[str, str] = {}
        self._outputs: dict[str, np.ndarray] = {}

    def find_or_add(self, name: str, function: Translation) -> str | None:
        """The earlier candidate that this one repeats; None (and remembered) if it is new."""
        program = canonical_program(function.source)
        if program in self._programs:
            return self._programs[program]
        outputs = outputs_on(function, self._states)
        for other, seen in self._outputs.items():
            if np.allclose(outputs, seen, rtol=_TOLERANCE, atol=_TOLERANCE):
                return other
        self._programs[program] = name
        self._outputs[name] = outputs
        return None

    def most_different(self, name: str, others: list[str]) -> str | None:
        """Of `others`, the one whose credits are least like `name`'s; None if there is none."""
        if not others:
            return None
        credits = self._outputs[name][:, 1:]
        distance = {
            other: float(np.mean(np.abs(self._outputs[other][:, 1:] - credits))) for other in others
        }
        return max(others, key=lambda other: distance[other])
