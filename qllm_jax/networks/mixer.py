"""`Mixer`: how N chosen action values become what is regressed on, as data."""

import dataclasses
from collections.abc import Callable

import jax
from flax import struct

from qllm_jax.types import JointAction, Params


@struct.dataclass
class MixerHyper:
    """Traced settings of a mixer; a sweep or a tournament vmaps them.

    Attributes:
        scale: [] factor on a TFCAF's value (the published code uses N); learned mixers ignore it.
        candidate: [] int32, which of K TFCAFs this run trains; others ignore it.
    """

    scale: jax.Array
    candidate: jax.Array


JointFunction = Callable[[Params, jax.Array, jax.Array, MixerHyper, JointAction], jax.Array]
SequenceFunction = Callable[[Params, jax.Array, jax.Array, jax.Array, MixerHyper], jax.Array]


@dataclasses.dataclass(frozen=True)
class TeamSizes:
    """The numbers that a mixer's parameters depend on.

    Attributes:
        num_agents: N.
        state_dim: D.
        num_actions: A; None where nobody said, which is fine for mixers that read no actions.
    """

    num_agents: int
    state_dim: int
    num_actions: int | None = None

    def known_num_actions(self, mixer: str) -> int:
        """A, for a `mixer` that reads actions.

        Raises:
            ValueError: Nobody said.
        """
        if self.num_actions is None:
            raise ValueError(
                f"mixer {mixer!r} reads the agents' actions and needs to know how many there are; "
                "pass num_actions to make_mixer."
            )
        return self.num_actions


@dataclasses.dataclass(frozen=True)
class Mixer:
    """A value-decomposition rule; unbatched, callers vmap.

    The first four are all that most mixers need.

    Attributes:
        name: Registry name such as "qmix".
        init: `key -> params`; `{}` where nothing is learned. The key is consumed.
        apply: `(params, agent_qs [N], state [D], hyper) -> values [M]`: M = 1 for a joint value
            q_tot, M = N for independent learners. Every value regresses on the team reward.
        igm: The greedy joint action is each agent's own (individual-global-max), by construction;
            None where it depends on the function (TFCAF) or on what was learned.
        apply_joint: `(params, agent_qs [N], state [D], hyper, joint) -> values [M]`, for a mixer
            whose value depends on which actions were taken: it is then what is regressed, and
            `apply` is the value that the agents' greedy actions stand for.
        extra_loss: `(params, agent_qs [N], state [D], hyper, joint) -> []`, added to the squared
            TD error of every transition; None adds nothing.
        transform: `(params, agent_qs [T, N], acting [T] bool) -> agent_qs [T, N]`, applied to the
            online values of a trajectory before they are mixed; None leaves them as they are.
        apply_sequence: `(params, agent_qs [T, B, N], state [T, B, D], reset [T, B], hyper) ->
            values [T, B, M]`, `apply` for a critic with a memory; None has none.
    """

    name: str
    init: Callable[[jax.Array], Params]
    apply: Callable[[Params, jax.Array, jax.Array, MixerHyper], jax.Array]
    igm: bool | None
    apply_joint: JointFunction | None = None
    extra_loss: JointFunction | None = None
    transform: Callable[[Params, jax.Array, jax.Array], jax.Array] | None = None
    apply_sequence: SequenceFunction | None = None

    def regressed(
        self,
        params: Params,
        agent_qs: jax.Array,
        state: jax.Array,
        hyper: MixerHyper,
        joint: JointAction,
    ) -> jax.Array:
        """The values `[M]` that regress on the reward: `apply_joint` where there is one."""
        if self.apply_joint is None:
            return self.apply(params, agent_qs, state, hyper)
        return self.apply_joint(params, agent_qs, state, hyper, joint)

    def mixed(
        self,
        params: Params,
        agent_qs: jax.Array,
        state: jax.Array,
        reset: jax.Array,
        hyper: MixerHyper,
    ) -> jax.Array:
        """`apply` over a sequence `[T, B, ...]`: `apply_sequence` where there is one."""
        if self.apply_sequence is not None:
            return self.apply_sequence(params, agent_qs, state, reset, hyper)
        over_slots = jax.vmap(jax.vmap(self.apply, (None, 0, 0, None)), (None, 0, 0, None))
        return over_slots(params, agent_qs, state, hyper)
