"""Checks that several sections of the configuration share; each failure is one clear error."""

from typing import Any

from qllm_jax.errors import require


def positive(section: str, config: Any, *names: str) -> None:
    """Require that each of the section's fields in `names` is above 0."""
    for name in names:
        value = getattr(config, name)
        require(value > 0, f"{section}.{name} is {value}; it must be positive.")


def in_unit_interval(section: str, config: Any, *names: str) -> None:
    """Require that each of the section's fields in `names` lies in [0, 1]."""
    for name in names:
        value = getattr(config, name)
        require(0.0 <= value <= 1.0, f"{section}.{name} is {value}; it must lie in [0, 1].")
