"""The scripted cooks deliver: together in one room, and over the counters between two."""

import importlib
from pathlib import Path

import jax
import pytest

from qllm_jax.tasks import get_task
from qllm_jax.tasks.catalog.kitchens import DELIVERY

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def cooks(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)  # as `python benchmarks/….py` finds its neighbours
    return importlib.import_module("scripted_cooks")


@pytest.mark.parametrize("layout", ["cramped_room", "forced_coord"])
def test_two_scripted_cooks_deliver(cooks, layout):
    spec = get_task(f"overcooked/{layout}")
    assert cooks.score(spec, cooks.Way(), jax.random.key(0)) >= 9 * DELIVERY
