"""The maths of learning: targets, losses, exploration, gradient steps.

Networks come in as apply-functions and state as arguments, so that each function can be tested by
hand. Imports only the shared types. Called by `training`.
"""

from qllm_jax.learning.coma import coma_loss, prepare_coma_batch
from qllm_jax.learning.exploration import epsilon_greedy_actions, greedy_actions, linear_epsilon
from qllm_jax.learning.loss import LossMetrics, MixerApply, NetworkParams, td_loss
from qllm_jax.learning.maddpg import maddpg_loss, straight_through
from qllm_jax.learning.policy import (
    local_values,
    policy_loss,
    prepare_policy_batch,
    sample_actions,
    sample_from_logits,
)
from qllm_jax.learning.standardise import (
    RunningMoments,
    init_moments,
    standardise,
    update_moments,
)
from qllm_jax.learning.targets import (
    acting_mask,
    double_q_values,
    joint_action,
    lambda_returns,
    take_actions,
)
from qllm_jax.learning.update import (
    all_finite,
    apply_gradients,
    linear_decay,
    make_optimizer,
    update_target,
    where_tree,
)

__all__ = [
    "LossMetrics",
    "MixerApply",
    "NetworkParams",
    "RunningMoments",
    "acting_mask",
    "all_finite",
    "apply_gradients",
    "coma_loss",
    "double_q_values",
    "epsilon_greedy_actions",
    "greedy_actions",
    "init_moments",
    "joint_action",
    "lambda_returns",
    "linear_decay",
    "linear_epsilon",
    "local_values",
    "maddpg_loss",
    "make_optimizer",
    "policy_loss",
    "prepare_coma_batch",
    "prepare_policy_batch",
    "sample_actions",
    "sample_from_logits",
    "standardise",
    "straight_through",
    "take_actions",
    "td_loss",
    "update_moments",
    "update_target",
    "where_tree",
]
