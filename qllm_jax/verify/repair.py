"""Make credit >= 0 where it can be done openly: a wrapper around a function affine in agent_qs."""

import dataclasses
from typing import get_args

from qllm_jax.errors import UserError, unknown_name
from qllm_jax.tfcaf.contract import Translation
from qllm_jax.tfcaf.load import compile_source
from qllm_jax.tfcaf.wrapper import RepairMode, repaired_source
from qllm_jax.verify.igm import analyse
from qllm_jax.verify.worker import trace


def repair_igm(translation: Translation, mode: RepairMode = "clip") -> Translation:
    """Wrap a function affine in agent_qs so that no weight is negative.

    q_tot = f(0, s) + Σ_i g(w_i(s)) q_i with w = ∂f/∂agent_qs and g = relu ("clip") or softplus.

    Args:
        translation: A function whose credits do not depend on agent_qs.
        mode: "clip" sets negative weights to zero and keeps the others; "softplus" changes all
            weights a little and leaves none at zero.

    Returns:
        The repaired function, standalone and with the original in it; a note says what was done.

    Raises:
        UserError: it is not affine in agent_qs, or the mode is unknown.
    """
    if mode not in get_args(RepairMode):
        raise unknown_name("IGM repair", mode, get_args(RepairMode))
    _, credit = trace(translation.source, translation.num_agents, translation.state_dim)
    if credit is None or not analyse(credit).affine:
        raise UserError(
            "this function cannot be repaired: its credits depend on agent_qs, or it jumps with "
            "them or stops their gradient, so it has no weights w(state) to keep non-negative. "
            "Ask for q_tot = sum of w_i(state) * q_i, or verify with igm=report."
        )
    source = repaired_source(translation.source, mode)
    note = f"igm-repair={mode}: negative weights of the original are made non-negative by a wrapper"
    return dataclasses.replace(
        translation,
        source=source,
        function=compile_source(source),
        notes=(*translation.notes, note),
    )
