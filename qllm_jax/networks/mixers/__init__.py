"""Mixers as data: one file each, one registry.

A new mixer is a module with `make(config, sizes, tfcafs) -> Mixer`, a line in `_MAKERS` and a file
in `configs/mixer`; the contract test then covers it.
"""

from collections.abc import Callable, Sequence

from qllm_jax.config import MixerConfig
from qllm_jax.errors import unknown_name
from qllm_jax.networks.mixer import Mixer, TeamSizes
from qllm_jax.networks.mixers import (
    iql,
    qatten,
    qmix,
    qplex,
    qtran,
    rqn,
    tfcaf,
    tfcaf_residual,
    vdn,
)
from qllm_jax.types import TfcafFunction

_MAKERS: dict[str, Callable[..., Mixer]] = {
    "iql": iql.make,
    "qatten": qatten.make,
    "qmix": qmix.make,
    "qplex": qplex.make,
    "qtran": qtran.make,
    "rqn": rqn.make,
    "tfcaf": tfcaf.make,
    "tfcaf_residual": tfcaf_residual.make,
    "vdn": vdn.make,
}


def mixer_names() -> list[str]:
    """The registered mixers, sorted."""
    return sorted(_MAKERS)


def make_mixer(
    config: MixerConfig,
    num_agents: int,
    state_dim: int,
    tfcafs: Sequence[TfcafFunction] = (),
    num_actions: int | None = None,
) -> Mixer:
    """Build the mixer that `config.name` names.

    Args:
        config: Name and sizes.
        num_agents: N.
        state_dim: D.
        tfcafs: K functions for `tfcaf`; a run trains the one its `MixerHyper.candidate` points at.
        num_actions: A; needed by mixers that read which actions were taken (`qplex`, `qtran`).

    Raises:
        UserError: The name is unknown, or `tfcaf` was given no function.
    """
    if config.name not in _MAKERS:
        raise unknown_name("mixer", config.name, mixer_names())
    sizes = TeamSizes(num_agents, state_dim, num_actions)
    return _MAKERS[config.name](config, sizes, tuple(tfcafs))
