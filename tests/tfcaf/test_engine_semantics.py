"""Statements, control flow and shared memory mean in jnp what they mean in torch."""

import jax
import numpy as np
import pytest
import tfcaf_torch_bodies as table

from qllm_jax.tfcaf import translate

_RNG = np.random.default_rng(3)
AGENT_QS = np.float32([*_RNG.normal(size=(3, 3)), [0, 0, 0], [1, 1, -1]])
STATES = np.float32([*_RNG.normal(size=(3, 12)), np.zeros(12), _RNG.integers(-1, 2, 12)])


@pytest.fixture(scope="module")
def answers():
    """Value and credit of every body on every row, compiled at once."""
    functions = {name: translate(table.source(name), 3, 12).function for name in table.BODIES}

    @jax.jit
    @jax.vmap
    def run(q, s):
        return {name: jax.value_and_grad(f)(q, s) for name, f in functions.items()}

    return run(AGENT_QS, STATES)


@pytest.mark.parametrize("name", sorted(table.BODIES))
def test_body_equals_torch_row_by_row(name, answers):
    torch = pytest.importorskip("torch")
    scope = {}
    exec(table.source(name), scope)
    # a condition over the batch is asked for each row by itself
    each = [[row] for row in range(len(STATES))] if name.startswith("any") else [slice(None)]
    for rows in each:
        q = torch.tensor(AGENT_QS[rows], requires_grad=True)
        value = scope["mix"](q * 1, torch.tensor(STATES[rows]))
        value.sum().backward()
        expected = value.detach().reshape(-1)
        np.testing.assert_allclose(
            np.asarray(answers[name][0])[rows], expected, rtol=2e-5, atol=2e-5
        )
        np.testing.assert_allclose(np.asarray(answers[name][1])[rows], q.grad, rtol=2e-5, atol=2e-5)


EARLY = """
import torch

def mix(q, s):
    total = s[:3].sum()
    if total <= 0:
        return q.mean()
    weights = s[:3] / total
    return (weights * q).sum()
"""


def test_an_early_return_on_data_leaves_no_nan_in_the_gradient():
    function = jax.value_and_grad(translate(EARLY, 3, 12).function)
    value, credit = function(np.float32([1, 2, 6]), np.zeros(12, np.float32))
    assert value == 3.0  # the mean
    np.testing.assert_allclose(credit, 1 / 3, rtol=1e-6)
    value, credit = function(np.float32([1, 2, 6]), np.float32([1, 1, 2] + [0] * 9))
    assert value == 3.75  # (1 + 2 + 12) / 4
    np.testing.assert_allclose(credit, [0.25, 0.25, 0.5])


def test_a_ternary_on_data_chooses_per_row():
    text = "def mix(q, s):\n    return q.sum() / s[0] if s[0] > 0 else q.max()\n"
    function = jax.vmap(jax.value_and_grad(translate(text, 3, 12).function))
    states = np.zeros((2, 12), np.float32)
    states[0, 0] = 2.0
    value, credit = function(np.float32([[1, 2, 3]] * 2), states)
    np.testing.assert_allclose(value, [3.0, 3.0])
    np.testing.assert_allclose(credit, [[0.5] * 3, [0, 0, 1]])


def test_helpers_run_under_jit_vmap_grad_and_scan():
    function = translate(table.source("helper-branches"), 3, 12).function

    def step(carry, row):
        return carry + function(*row), function(*row)

    total, parts = jax.jit(lambda q, s: jax.lax.scan(step, 0.0, (q, s)))(AGENT_QS, STATES)
    np.testing.assert_allclose(total, parts.sum(), rtol=1e-6)
    np.testing.assert_allclose(parts, jax.vmap(function)(AGENT_QS, STATES), rtol=1e-6)


def test_round_keeps_its_digits():
    text = (
        "import jax.numpy as jnp\ndef f(agent_qs, state):\n"
        "    return round(state[0], {}) * agent_qs.sum()\n"
    )
    for digits in ("2", "ndigits=2"):
        function = translate(text.format(digits), 3, 12).function
        value = function(np.ones(3, np.float32), np.full(12, 0.126, np.float32))
        np.testing.assert_allclose(value, 0.39, rtol=1e-5)


CLASSES = """
import torch
import torch.nn as nn
from dataclasses import dataclass, field


@dataclass(frozen=True, eq=False)
class Config:
    floor: float = field(default=0.25)
    shares: list = field(default_factory=lambda: [1.0, 2.0, 4.0])


class Ramp:
    def __init__(self, width=2.0):
        self.width = width

    @classmethod
    def narrow(cls):
        return cls(width=1.0)

    @property
    def slope(self):
        return 1.0 / self.width

    def __call__(self, x):
        return (x * self.slope).clamp(0.0, 1.0)


CONFIG = Config()


def mix(q, s, config: Config = CONFIG):
    ramp = Ramp.narrow()
    w = ramp(s[:, :3]) * torch.tensor(config.shares) * ramp.slope + config.floor
    return (w * q).sum(dim=1)
"""


def test_properties_class_methods_and_default_factories():
    function = jax.value_and_grad(translate(CLASSES, 3, 12).function)
    state = np.float32([0.5, -1, 3] + [0] * 9)
    value, credit = function(np.float32([1, 2, 4]), state)
    np.testing.assert_allclose(credit, [0.75, 0.25, 4.25])  # 1·0.5, 2·0, 4·1, each + 0.25
    np.testing.assert_allclose(value, 18.25)


NEAREST = """
import jax.numpy as jnp

def tfcaf(agent_qs, state):
    nn = jnp.min(state.reshape(3, 4), axis=1)
    weights = [float(b) for b in (1.0, 2.0, 3.0)]
    return jnp.sum(jnp.clip(nn, 0.0, 1.0) * jnp.array(weights) * agent_qs)
"""


def test_a_variable_named_as_a_module_is_a_variable():
    translation = translate(NEAREST, 3, 12)
    assert (translation.dialect, translation.batched) == ("jnp", False)
    assert translation.function(np.ones(3, np.float32), np.ones(12, np.float32)) == 6.0


def test_the_entries_that_a_mask_of_two_axes_selects_are_reduced():
    text = """
import torch

def mix(q, s):
    '''q [N], s [D].'''
    x = s.view(3, 4) * q[:, None]
    return x[s.view(3, 4) > 1].sum() + x[s.view(3, 4) > 1].mean()
"""
    function = jax.value_and_grad(translate(text, 3, 12).function)
    state = np.float32([2, 0, 0, 0, 0, 3, 0, 0, 0, 0, 4, 0])
    value, credit = function(np.float32([1, 2, 3]), state)
    np.testing.assert_allclose(value, 20 + 20 / 3, rtol=1e-6)  # 2·1 + 3·2 + 4·3, and a third of it
    np.testing.assert_allclose(credit, np.float32([2, 3, 4]) * (4 / 3), rtol=1e-6)
