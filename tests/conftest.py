"""Shared settings: two forced CPU devices, quick compilation with a persistent cache, no network.

Tests compile many programs and run each for moments, so that LLVM's own optimisations cost more
than they save; subprocesses inherit the flags.
"""

import os
from pathlib import Path

os.environ["XLA_FLAGS"] = (
    os.environ.get("XLA_FLAGS", "")
    + " --xla_force_host_platform_device_count=2 --xla_backend_optimization_level=0"
).strip()
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("MPLBACKEND", "Agg")

import jax
import pytest

jax.config.update("jax_compilation_cache_dir", str(Path(__file__).parents[1] / ".jax_cache"))
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)


@pytest.fixture
def strict_ranks():
    """Raise where arrays of different rank are broadcast together by accident."""
    with jax.numpy_rank_promotion("raise"):
        yield
