"""Mixers as data: one file each, one registry.

A new mixer is a module with `make(config, num_agents, state_dim, tfcafs) -> Mixer` and a line in
`_MAKERS`; the contract test then covers it.
"""

from collections.abc import Callable, Sequence

from qllm_jax.config import MixerConfig
from qllm_jax.errors import unknown_name
from qllm_jax.networks.mixer import Mixer
from qllm_jax.networks.mixers import iql, qmix, tfcaf, vdn
from qllm_jax.types import TfcafFunction

_MAKERS: dict[str, Callable[..., Mixer]] = {
    "iql": iql.make,
    "qmix": qmix.make,
    "tfcaf": tfcaf.make,
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
) -> Mixer:
    """Build the mixer that `config.name` names.

    Args:
        config: Name and sizes.
        num_agents: N.
        state_dim: D.
        tfcafs: K functions for `tfcaf`; a run trains the one its `MixerHyper.candidate` points at.

    Raises:
        UserError: The name is unknown, or `tfcaf` was given no function.
    """
    if config.name not in _MAKERS:
        raise unknown_name("mixer", config.name, mixer_names())
    return _MAKERS[config.name](config, num_agents, state_dim, tuple(tfcafs))
