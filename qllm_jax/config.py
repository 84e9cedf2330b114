"""The configuration: frozen dataclasses, checked when built. Library code sees only these.

Static fields shape the compiled program; those listed in `TRACED_LEARNER_FIELDS` are arrays in
it, so that a sweep over them compiles once. Hydra composes a mapping from `configs/`;
`config_mapping` turns that into a `Config` or explains what is wrong with it.
"""

import dataclasses
from typing import Any, Literal

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

ALL_THAT_FIT = -1  # `runner.num_seeds=max`

# These learn from the windows of one iteration alone.
LEARNERS_WITHOUT_REPLAY = ("coma", "ippo", "mappo", "mixed_critic", "pqn")

# These bring a critic of their own, or none, in the place of a mixer.
LEARNERS_WITHOUT_MIXER = ("coma", "ippo", "maddpg", "mappo")


def _either(numbers: list[int]) -> str:
    return " or ".join(str(number) for number in numbers)


def _positive(section: str, config: Any, *names: str) -> None:
    for name in names:
        value = getattr(config, name)
        require(value > 0, f"{section}.{name} is {value}; it must be positive.")


def _in_unit_interval(section: str, config: Any, *names: str) -> None:
    for name in names:
        value = getattr(config, name)
        require(0.0 <= value <= 1.0, f"{section}.{name} is {value}; it must lie in [0, 1].")


@dataclasses.dataclass(frozen=True)
class TaskConfig:
    """What is to be solved.

    Attributes:
        name: Task id from `qllm-jax tasks`.
        env: A `MultiAgentEnv` of your own instead, as `package.module:Class` or `file.py:Class`.
        env_kwargs: Overrides for the task's environment factory, such as `{num_agents: 6}`.
    """

    name: str = "mpe/simple_spread"
    env: str | None = None
    env_kwargs: dict[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def source(self) -> str:
        """What `qllm_jax.tasks.get_task` is asked for."""
        return self.name if self.env is None else self.env


@dataclasses.dataclass(frozen=True)
class AgentConfig:
    """The agents' shared network.

    Attributes:
        name: `rnn` (a GRU), `mlp`, or `cnn` for observations that are images; the last two have no
            memory.
        hidden_dim: Width of the embedding and of the GRU or the second layer.
        append_agent_id: Append a one-hot agent id to every observation.
        layer_norm: Normalise the embedding before its ReLU ("Layer Normalization",
            https://arxiv.org/abs/1607.06450); learners without a target network need it.
    """

    name: Literal["rnn", "mlp", "cnn"] = "rnn"
    hidden_dim: int = 64
    append_agent_id: bool = True
    layer_norm: bool = False

    def __post_init__(self) -> None:
        _positive("agent", self, "hidden_dim")


@dataclasses.dataclass(frozen=True)
class MixerConfig:
    """How agents' values are combined.

    Attributes:
        name: `tfcaf`, `tfcaf_residual`, `qmix`, `vdn`, `iql`, `qatten`, `qplex`,
            `qtran` or `rqn`.
        artifact: Directory of a TFCAF artifact (`tfcaf` and `tfcaf_residual`); None takes the
            task's shipped one.
        scale: `num_agents` multiplies a TFCAF by N as the published code does; `none` does not;
            `artifact` takes what the artifact says.
        embedding_dim: QMIX's mixing width.
        hypernet_hidden_dim: QMIX's hypernetwork width.
        init_scale: QMIX's orthogonal initialisation scale.
        qatten_heads: Qatten's attention heads.
        qatten_key_dim: Width of its keys and queries.
        qatten_hidden_dim: Width of its hypernetworks.
        qplex_heads: QPLEX's heads of the advantages' weights.
        qplex_hidden_dim: Width of its hypernetworks.
        qtran_hidden_dim: Width of QTRAN's joint value and state value.
        rqn_hidden_dim: Width of RQN's auxiliary network.
        residual_hidden_dim: Width of the correction of `tfcaf_residual`.
        qtran_opt_weight: Weight of QTRAN's loss at the greedy joint action.
        qtran_nopt_weight: Weight of QTRAN's loss at the joint action that was taken.
    """

    name: str = "tfcaf"
    artifact: str | None = None
    scale: Literal["artifact", "num_agents", "none"] = "artifact"
    embedding_dim: int = 32
    hypernet_hidden_dim: int = 128
    init_scale: float = 0.001
    qatten_heads: int = 4
    qatten_key_dim: int = 32
    qatten_hidden_dim: int = 64
    qplex_heads: int = 10
    qplex_hidden_dim: int = 64
    qtran_hidden_dim: int = 64
    rqn_hidden_dim: int = 64
    residual_hidden_dim: int = 32
    qtran_opt_weight: float = 1.0
    qtran_nopt_weight: float = 1.0

    def __post_init__(self) -> None:
        _positive(
            "mixer",
            self,
            "embedding_dim",
            "hypernet_hidden_dim",
            "init_scale",
            "qatten_heads",
            "qatten_key_dim",
            "qatten_hidden_dim",
            "qplex_heads",
            "qplex_hidden_dim",
            "qtran_hidden_dim",
            "rqn_hidden_dim",
            "residual_hidden_dim",
            "qtran_opt_weight",
            "qtran_nopt_weight",
        )


@dataclasses.dataclass(frozen=True)
class LearnerConfig:
    """Recurrent double Q-learning from replay; defaults as in JaxMARL's `ql_rnn_mpe.yaml`.

    A window is `window_length` slots of `num_envs` environments, each starting at a reset; one
    iteration collects a window per environment and does `updates_per_window` gradient steps.

    Attributes:
        name: `dqn`; `pqn` or `mixed_critic`, which have no replay and no target network: they
            ignore `replay_…`, `target_…`, `tau` and `double_q`; or a baseline without a mixer,
            which ignores `mixer`: `ippo`, `mappo`, `coma` (none has a replay) or `maddpg`.
        num_envs: B, environments per seed.
        window_length: T slots; None is the episode length + 1, which holds one whole episode.
        replay_capacity: Windows kept per seed, a multiple of `num_envs`.
        replay_dtype: Storage type of observations and states.
        batch_size: Windows per gradient step; without a replay they are minibatches of the
            newest `num_envs`, which it must divide.
        updates_per_window: Gradient steps per iteration; without a replay a multiple of the
            minibatches, `num_envs / batch_size`, so that epochs are whole.
        learning_starts: Environment steps before the first gradient step.
        optimizer: `adam` or `radam`.
        lr: Learning rate.
        lr_linear_decay: Decay `lr` to zero over the run.
        max_grad_norm: Global-norm clipping.
        discount: γ.
        double_q: Choose the bootstrap action with the online network.
        td_lambda: λ of the return; 0 is one-step.
        target_update: `hard` copies with rate `tau` every `target_update_interval` iterations;
            `soft` moves by `tau` after every gradient step.
        target_update_interval: Iterations between hard updates.
        tau: Rate of the target update; 1 with `hard` is a copy.
        epsilon_start: Exploration at the start.
        epsilon_finish: Exploration after the decay.
        epsilon_decay_fraction: Part of the run over which exploration decays linearly.
        reward_scale: Factor on the reward in the loss (never in reported returns).
        standardise_rewards: Divide by the running standard deviation of the rewards, after
            subtracting their mean, in the loss only.
        clip_epsilon: ε of `mixed_critic`: how far a policy's probabilities move in an iteration.
        value_coef: Weight of its critics' loss.
        entropy_coef: Weight of its policies' entropy.
        critic_hidden_dim: Width of the critics of `mappo`, `coma` and `maddpg`.
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

    def __post_init__(self) -> None:
        _positive(
            "learner",
            self,
            "num_envs",
            "replay_capacity",
            "batch_size",
            "updates_per_window",
            "lr",
            "max_grad_norm",
            "target_update_interval",
            "reward_scale",
            "epsilon_decay_fraction",
            "clip_epsilon",
            "value_coef",
            "critic_hidden_dim",
        )
        require(
            self.entropy_coef >= 0,
            f"learner.entropy_coef is {self.entropy_coef}; it must be ≥ 0.",
        )
        _in_unit_interval(
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


@dataclasses.dataclass(frozen=True)
class RunnerConfig:
    """How much is run, where, and what is kept.

    Attributes:
        num_seeds: S independent seeds, ids `first_seed … first_seed + S - 1`. `ALL_THAT_FIT`, on
            the command line `max`, is as many as fit into memory at once.
        first_seed: Id of the first seed.
        num_env_steps: Environment steps per seed.
        num_evaluations: Greedy evaluations during training, evenly spaced; one more precedes
            training (the untrained policy).
        num_eval_episodes: Episodes per evaluation and seed.
        num_devices: Devices to shard seeds over; None is all.
        memory_gib: Device memory that a program may take, in GiB per device; seeds that do not
            fit are trained in waves. None is nine tenths of what the device has.
        matmul_precision: `highest`, `tf32` or `bf16`.
        output_dir: Parent of run directories.
    """

    num_seeds: int = 8
    first_seed: int = 0
    num_env_steps: int = 200_000
    num_evaluations: int = 20
    num_eval_episodes: int = 64
    num_devices: int | None = None
    memory_gib: float | None = None
    matmul_precision: Literal["highest", "tf32", "bf16"] = "highest"
    output_dir: str = "runs"

    def __post_init__(self) -> None:
        _positive("runner", self, "num_env_steps", "num_evaluations", "num_eval_episodes")
        require(
            self.num_seeds > 0 or self.num_seeds == ALL_THAT_FIT,
            f"runner.num_seeds is {self.num_seeds}; it must be positive, or max.",
        )
        require(
            self.memory_gib is None or self.memory_gib > 0,
            f"runner.memory_gib is {self.memory_gib}; it must be positive, or null.",
        )
        require(
            self.num_devices is None or self.num_devices > 0,
            f"runner.num_devices is {self.num_devices}; it must be positive, or null for all.",
        )
        require(self.first_seed >= 0, f"runner.first_seed is {self.first_seed}; it must be ≥ 0.")


@dataclasses.dataclass(frozen=True)
class HostsConfig:
    """Several processes, each with its own devices, as one job: `train` and `compare`.

    Start the same command once per host. The hosts share the seeds and one file system.

    Attributes:
        coordinator: None is a job of one process. `auto` lets JAX find the others (SLURM, Open
            MPI, Kubernetes, TPU pods); else the first process's `address:port`.
        count: Processes in all; None with `auto`.
        index: Of this process, from 0; None with `auto`.
        timeout_s: How long to wait for the others at the start.
    """

    coordinator: str | None = None
    count: int | None = None
    index: int | None = None
    timeout_s: int = 300

    def __post_init__(self) -> None:
        _positive("hosts", self, "timeout_s")
        if self.coordinator not in (None, "auto"):
            require(
                self.count is not None and self.index is not None,
                f"hosts.coordinator is {self.coordinator}; give hosts.count and hosts.index too.",
            )
        if self.count is not None and self.index is not None:
            require(
                0 <= self.index < self.count,
                f"hosts.index is {self.index}; it must be from 0 to {self.count - 1}, one less "
                "than hosts.count.",
            )


@dataclasses.dataclass(frozen=True)
class CheckpointConfig:
    """What `qllm-jax resume` continues from.

    Attributes:
        enabled: Save the whole state between chunks while training.
        interval_s: Least seconds between two checkpoints; 0 saves after every chunk.
        keep: Newest checkpoints kept, beside the one with the best mean return.
        replay: Save the replay too. Without it checkpoints are small, and a resumed run first
            fills its replay by playing with the restored policy: a good run, but not the one that
            would have been. With it, a resumed run ends bit for bit where an uninterrupted one
            does, on the same hardware.
    """

    enabled: bool = True
    interval_s: float = 60.0
    keep: int = 2
    replay: bool = True

    def __post_init__(self) -> None:
        _positive("checkpoint", self, "keep")
        require(
            self.interval_s >= 0,
            f"checkpoint.interval_s is {self.interval_s}; it must be ≥ 0.",
        )


@dataclasses.dataclass(frozen=True)
class LoggingConfig:
    """Where evaluations go beside the run directory's own JSONL, CSV and NPZ.

    Attributes:
        tensorboard: Events below the run directory (the extra `tensorboard`).
        wandb: Weights & Biases: `off`, `online` or `offline` (the extra `wandb`).
        wandb_project: Its project.
        per_seed: A scalar for every seed, instead of means and the IQM over seeds.
    """

    tensorboard: bool = False
    wandb: Literal["off", "online", "offline"] = "off"
    wandb_project: str = "qllm-jax"
    per_seed: bool = False


@dataclasses.dataclass(frozen=True)
class LlmConfig:
    """Where completions come from. Keys come from the environment only.

    Attributes:
        provider: `auto` (gemini where a key is set, else recorded), `gemini`, `openai`
            (any OpenAI-compatible server) or `recorded`.
        coder_model: Model that writes functions.
        evaluator_model: Model that chooses and advises.
        base_url: Server of an OpenAI-compatible provider; None is the provider's own.
        temperature: Of the coder; the evaluator is asked at 0.
        max_output_tokens: Per call, thinking included.
        timeout_s: Wall clock per attempt.
        max_attempts: Attempts per call, the first included.
        transcripts: Directory of recorded transcripts; None is the shipped one.
        prices: Model name to dollars per million tokens, `{input, cached, output}`; a model that
            is not listed has an unknown price, and token caps hold.
    """

    provider: Literal["auto", "gemini", "openai", "recorded"] = "auto"
    coder_model: str = "gemini-3.8-flash"
    evaluator_model: str = "gemini-3.8-flash"
    base_url: str | None = None
    temperature: float = 0.8
    max_output_tokens: int = 16_384
    timeout_s: float = 120.0
    max_attempts: int = 5
    transcripts: str | None = None
    prices: dict[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        _positive("llm", self, "max_output_tokens", "timeout_s", "max_attempts")


@dataclasses.dataclass(frozen=True)
class SynthesisConfig:
    """The coder–evaluator loop.

    Attributes:
        num_candidates: K per round.
        num_rounds: Rounds at most.
        max_repairs: Repair requests per candidate.
        evaluator: `measured+llm` (training decides, the model breaks ties and advises),
            `measured`, or `llm` (the paper's).
        igm: Whether credit ≥ 0 is enforced, reported or off.
        igm_repair: With `enforce`, wrap a function that fails only by negative weights and is
            affine in the values (`clip` or `softplus`) instead of refusing it; `none` refuses.
        measured_seeds: Seeds per candidate in measured evaluation.
        measured_env_steps: Environment steps per seed in measured evaluation, at the last rung.
        measured_rungs: Budgets of successive halving: rung r of R trains for 1/2^(R-1-r) of
            `measured_env_steps` and the better half goes on; 1 measures once.
        final_seeds: Fresh seeds on which the finalist is scored again; 0 does not.
        arms: Mixers that every measurement trains beside the candidates, with the same seeds and
            budget. `vdn` is part of the candidates' program; another, such as `qmix`, is a
            program of its own, whose compilation later rounds and runs find in the cache.
        patience: Rounds in a row without a better candidate after which the loop stops.
        memory: Earlier candidates that the coder is told about, newest last.
        max_tokens: Cap on all tokens of a run.
        max_dollars: Cap on money, for models with a known price.
        max_calls: Cap on calls.
        max_seconds: Cap on wall time.
    """

    num_candidates: int = 3
    num_rounds: int = 2
    max_repairs: int = 2
    evaluator: Literal["measured+llm", "measured", "llm"] = "measured+llm"
    igm: Literal["enforce", "report", "off"] = "enforce"
    igm_repair: Literal["none", "clip", "softplus"] = "none"
    measured_seeds: int = 3
    measured_env_steps: int = 40_000
    measured_rungs: int = 1
    final_seeds: int = 4
    arms: tuple[str, ...] = ("vdn", "qmix")
    patience: int = 3
    memory: int = 6
    max_tokens: int = 1_000_000
    max_dollars: float = 5.0
    max_calls: int = 200
    max_seconds: float = 3600.0

    def __post_init__(self) -> None:
        _positive(
            "synthesis",
            self,
            "num_candidates",
            "num_rounds",
            "measured_seeds",
            "measured_env_steps",
            "measured_rungs",
            "patience",
            "max_tokens",
            "max_dollars",
            "max_calls",
            "max_seconds",
        )
        for name in ("max_repairs", "final_seeds", "memory"):
            value = getattr(self, name)
            require(value >= 0, f"synthesis.{name} is {value}; it must be ≥ 0.")


@dataclasses.dataclass(frozen=True)
class CompareConfig:
    """What is compared in one job.

    Attributes:
        mixers: Mixers trained one after the other at equal configuration; differences are
            reported against the first.
        learners: Each with its own configuration (`configs/learner`) and every mixer, where it
            takes one; empty is the configured learner alone.
    """

    mixers: tuple[str, ...] = ("tfcaf", "qmix", "vdn", "iql")
    learners: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        require(len(self.mixers) > 0, "compare.mixers is empty; name at least one mixer.")
        require(
            len(set(self.mixers)) == len(self.mixers),
            f"compare.mixers names one mixer twice: {list(self.mixers)}.",
        )
        require(
            len(set(self.learners)) == len(self.learners),
            f"compare.learners names one learner twice: {list(self.learners)}.",
        )


@dataclasses.dataclass(frozen=True)
class BenchConfig:
    """What `qllm-jax bench` times. A timed call is one chunk of the config that is trained:
    `runner.num_env_steps / runner.num_evaluations` steps per seed and an evaluation.

    Attributes:
        seeds: Numbers of seeds side by side, each a program of its own.
        repeats: Timed calls per program; the table shows their median, and the range of all.
        parts: Also time environment, acting, replay, learning and evaluation alone, at the
            largest of `seeds` that fits.
    """

    seeds: tuple[int, ...] = (1, 4, 16)
    repeats: int = 5
    parts: bool = True

    def __post_init__(self) -> None:
        _positive("bench", self, "repeats")
        require(
            len(self.seeds) > 0 and all(count > 0 for count in self.seeds),
            f"bench.seeds is {list(self.seeds)}; name one or more positive numbers.",
        )


@dataclasses.dataclass(frozen=True)
class SweepConfig:
    """What `qllm-jax sweep` tries. Every setting is trained with the runner's seeds.

    Attributes:
        method: `auto` is the grid where every value is a list, else `random`; `grid` takes every
            combination; `random` draws `num_samples`; `halving` trains the grid, or the draws, for
            a part of the budget, drops all but the best, and goes on with these.
        num_samples: Settings that are drawn; None is the whole grid, or 16 where there is a
            distribution.
        seed: Of the drawing.
        rungs: Of `halving`: rung r of R ends after 1 / eta^(R-1-r) of `runner.num_env_steps`.
        eta: Of `halving`: one setting in eta goes on to the next rung.
        values: What is swept, by name: a list, or `uniform(low,high)` or `loguniform(low,high)`.
            On the command line `sweep.lr=[1e-4,1e-3]`; a name without a section is the learner's,
            or that of the one section that has it.
    """

    method: Literal["auto", "grid", "random", "halving"] = "auto"
    num_samples: int | None = None
    seed: int = 0
    rungs: int = 3
    eta: int = 2
    values: dict[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        _positive("sweep", self, "rungs")
        require(self.eta >= 2, f"sweep.eta is {self.eta}; it must be at least 2.")
        require(
            self.num_samples is None or self.num_samples > 0,
            f"sweep.num_samples is {self.num_samples}; it must be positive, or null for the grid.",
        )


@dataclasses.dataclass(frozen=True)
class Config:
    """Everything one job needs."""

    task: TaskConfig = dataclasses.field(default_factory=TaskConfig)
    agent: AgentConfig = dataclasses.field(default_factory=AgentConfig)
    mixer: MixerConfig = dataclasses.field(default_factory=MixerConfig)
    learner: LearnerConfig = dataclasses.field(default_factory=LearnerConfig)
    runner: RunnerConfig = dataclasses.field(default_factory=RunnerConfig)
    hosts: HostsConfig = dataclasses.field(default_factory=HostsConfig)
    checkpoint: CheckpointConfig = dataclasses.field(default_factory=CheckpointConfig)
    logging: LoggingConfig = dataclasses.field(default_factory=LoggingConfig)
    llm: LlmConfig = dataclasses.field(default_factory=LlmConfig)
    synthesis: SynthesisConfig = dataclasses.field(default_factory=SynthesisConfig)
    compare: CompareConfig = dataclasses.field(default_factory=CompareConfig)
    bench: BenchConfig = dataclasses.field(default_factory=BenchConfig)
    sweep: SweepConfig = dataclasses.field(default_factory=SweepConfig)

    @property
    def label(self) -> str:
        """What is trained, for tables and directories: `qmix`, `pqn+qmix`, `mappo`."""
        learner, mixer = self.learner.name, self.mixer.name
        if learner in LEARNERS_WITHOUT_MIXER:
            return learner
        return mixer if learner == "dqn" else f"{learner}+{mixer}"

    @property
    def uses_tfcaf(self) -> bool:
        """Whether the training mixes with an artifact's function."""
        has_mixer = self.learner.name not in LEARNERS_WITHOUT_MIXER
        return has_mixer and self.mixer.name.startswith("tfcaf")
