"""`Mixer`: how N chosen action values become what is regressed on, as data."""

import dataclasses
from collections.abc import Callable

import jax
from flax import struct

from qllm_jax.types import Params


@struct.dataclass
class MixerHyper:
    """Traced settings of a mixer; a sweep or a tournament vmaps them.

    Attributes:
        scale: [] factor on a TFCAF's value (the published code uses N); learned mixers ignore it.
        candidate: [] int32, which of K TFCAFs this run trains; others ignore it.
    """

    scale: jax.Array
    candidate: jax.Array


@dataclasses.dataclass(frozen=True)
class Mixer:
    """A value-decomposition rule; unbatched, callers vmap.

    Attributes:
        name: Registry name such as "qmix".
        init: `key -> params`; `{}` where nothing is learned. The key is consumed.
        apply: `(params, agent_qs [N], state [D], hyper) -> values [M]`: M = 1 for a joint value
            q_tot, M = N for independent learners. Every value regresses on the team reward.
        monotone: Every credit is ≥ 0 by construction, so the greedy joint action is each agent's
            own (IGM); None where it depends on the function (TFCAF).
    """

    name: str
    init: Callable[[jax.Array], Params]
    apply: Callable[[Params, jax.Array, jax.Array, MixerHyper], jax.Array]
    monotone: bool | None
