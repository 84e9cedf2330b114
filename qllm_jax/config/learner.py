"""The learner's settings, and which learners have neither a replay nor a mixer.

Most fields shape the compiled program. Those in `TRACED_LEARNER_FIELDS` are arrays in it, so that a
sweep over them compiles once. The learners themselves are in `training.learners`.
"""

import dataclasses
from typing import Literal

from qllm_jax.config.checks import in_unit_interval, positive
from qllm_jax.errors import require

TRACED_LEARNER_FIELDS = (
    "lr",
    "discount",
    "epsilon_start",
    "epsilon_finish",
    "epsilon_decay_fraction",
    "tau",
    "td_lambda",
    "reward_scale",
)

# These learn from the windows of the newest iteration alone; a test compares with the registry.
LEARNERS_WITHOUT_REPLAY = ("coma", "ippo", "mappo", "mixed_critic", "pqn")

# These bring a critic of their own, or none, in the place of a mixer.
LEARNERS_WITHOUT_MIXER = ("coma", "ippo", "maddpg", "mappo")


@dataclasses.dataclass(frozen=True)
class LearnerConfig:
    """How a team plays, what it learns from that, and how it explores.

    A window is `window_length` slots of one environment, starting at a reset. One iteration
    collects a window in each of `num_envs` environments and does `updates_per_window` gradient
    steps.

    The defaults are those of `dqn`, as in JaxMARL's `ql_rnn_mpe.yaml`; `configs/learner` has values
    for each learner. A field that names learners is read by these alone.

    Attributes:
        name: `dqn`, recurrent double Q-learning from a replay; `pqn`, Q-learning from the newest
            windows, without target networks; `mixed_critic`, policies by PPO with the agents' own
            critics mixed; `ippo`, the same with nothing mixed; `mappo`, the same with one critic of
            the global state; `coma`, counterfactual policy gradients; or `maddpg`, policies that
            climb a critic of state and joint action, from a replay. The last four ignore `mixer`.
        num_envs: B, environments per seed.
        window_length: T slots; None is the episode length + 1, which holds one whole episode.
        replay_capacity: Windows kept per seed, a multiple of `num_envs` (`dqn`, `maddpg`).
        replay_dtype: Storage type of observations and states (`dqn`, `maddpg`).
        batch_size: Windows per gradient step. `dqn` and `maddpg` draw them from the replay; for
            the others it is a minibatch of the newest `num_envs`, which it must divide.
        updates_per_window: Gradient steps per iteration. Without a replay they are whole epochs: a
            multiple of the `num_envs / batch_size` minibatches.
        learning_starts: Environment steps before the first gradient step.
        optimizer: `adam` or `radam`.
        optimizer_epsilon: Added to the root of its second moment.
        lr: Learning rate.
        lr_linear_decay: Decay `lr` to zero over the run.
        max_grad_norm: A gradient with a larger norm is scaled down to it. Learners that ignore
            `mixer` have a network for the critic, whose gradient is clipped by itself.
        discount: γ.
        double_q: The online network chooses the bootstrap action (`dqn`).
        td_lambda: λ of the return; 0 is one-step.
        target_update: `hard` moves the target networks by `tau` every `target_update_interval`
            iterations; `soft` moves them by `tau` after every gradient step (`dqn`, `maddpg`).
        target_update_interval: Iterations between hard updates (`dqn`, `maddpg`).
        tau: Part of the way that a target update goes; 1 is a copy (`dqn`, `maddpg`).
        epsilon_start: ε of ε-greedy play at the start (`dqn`, `pqn`; policies explore by sampling).
        epsilon_finish: ε after the decay (`dqn`, `pqn`).
        epsilon_decay_fraction: Part of the run over which ε falls linearly (`dqn`, `pqn`).
        reward_scale: Factor on the reward in the loss (never in reported returns).
        standardise_rewards: Subtract the running mean of the rewards and divide by their running
            standard deviation, in the loss only.
        clip_epsilon: ε of PPO: within an iteration nothing is gained by changing an action's
            probability by more than the factor 1 ± ε (`mixed_critic`, `ippo`, `mappo`).
        value_coef: Weight of the critics' loss (`mixed_critic`, `ippo`, `mappo`, `coma`).
        entropy_coef: Weight of the policies' entropy (`mixed_critic`, `ippo`, `mappo`, `coma`).
        critic_hidden_dim: Width of the critic's network (`mappo`, `coma`, `maddpg`).
        critic_lr_factor: The critic learns with `lr` times this (`mappo`, `coma`, `maddpg`).
    """

    name: str = "dqn"
    num_envs: int = 8
    window_length: int | None = None
    replay_capacity: int = 5000
    replay_dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    batch_size: int = 32
    updates_per_window: int = 1
    learning_starts: int = 10_000
    optimizer: Literal["adam", "radam"] = "radam"
    optimizer_epsilon: float = 1e-8
    lr: float = 0.005
    lr_linear_decay: bool = True
    max_grad_norm: float = 25.0
    discount: float = 0.9
    double_q: bool = True
    td_lambda: float = 0.0
    target_update: Literal["hard", "soft"] = "hard"
    target_update_interval: int = 200
    tau: float = 1.0
    epsilon_start: float = 1.0
    epsilon_finish: float = 0.05
    epsilon_decay_fraction: float = 0.1
    reward_scale: float = 1.0
    standardise_rewards: bool = False
    clip_epsilon: float = 0.2
    value_coef: float = 0.5
    entropy_coef: float = 0.01
    critic_hidden_dim: int = 128
    critic_lr_factor: float = 1.0

    def __post_init__(self) -> None:
        positive(
            "learner",
            self,
            "num_envs",
            "replay_capacity",
            "batch_size",
            "updates_per_window",
            "lr",
            "optimizer_epsilon",
            "max_grad_norm",
            "target_update_interval",
            "reward_scale",
            "epsilon_decay_fraction",
            "clip_epsilon",
            "value_coef",
            "critic_hidden_dim",
            "critic_lr_factor",
        )
        require(
            self.entropy_coef >= 0,
            f"learner.entropy_coef is {self.entropy_coef}; it must be ≥ 0.",
        )
        in_unit_interval(
            "learner",
            self,
            "discount",
            "td_lambda",
            "tau",
            "epsilon_start",
            "epsilon_finish",
            "epsilon_decay_fraction",
        )
        if self.window_length is not None:
            require(
                self.window_length >= 2,
                f"learner.window_length is {self.window_length}; a window needs at least 2 slots: "
                "one to act in and one to bootstrap from.",
            )
        if self.name in LEARNERS_WITHOUT_REPLAY:
            self._check_minibatches()
        else:
            self._check_replay()

    def _check_minibatches(self) -> None:
        fits = [size for size in range(1, self.num_envs + 1) if self.num_envs % size == 0]
        closest = sorted(fits, key=lambda size: abs(size - self.batch_size))[:2]
        require(
            self.num_envs % self.batch_size == 0,
            f"learner.batch_size is {self.batch_size}, which does not divide learner.num_envs = "
            f"{self.num_envs} windows into minibatches; {_either(closest)} would fit.",
        )
        minibatches = self.num_envs // self.batch_size
        fit = self.updates_per_window // minibatches * minibatches
        require(
            self.updates_per_window % minibatches == 0,
            f"learner.updates_per_window is {self.updates_per_window}, not a multiple of the "
            f"{minibatches} minibatches of an epoch (learner.num_envs / learner.batch_size); "
            f"{_either([n for n in (fit, fit + minibatches) if n > 0])} would fit.",
        )

    def _check_replay(self) -> None:
        fit = self.replay_capacity // self.num_envs * self.num_envs
        require(
            self.replay_capacity % self.num_envs == 0,
            f"learner.replay_capacity is {self.replay_capacity}, not a multiple of "
            f"learner.num_envs = {self.num_envs}; {fit} or {fit + self.num_envs} would fit.",
        )
        require(
            self.replay_capacity >= self.batch_size,
            f"learner.replay_capacity is {self.replay_capacity}, below learner.batch_size = "
            f"{self.batch_size}; a batch could never be drawn.",
        )


def _either(numbers: list[int]) -> str:
    return " or ".join(str(number) for number in numbers)
