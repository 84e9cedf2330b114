"""The whole configuration of one job."""

import dataclasses

from qllm_jax.config.design import LlmConfig, SynthesisConfig
from qllm_jax.config.jobs import BenchConfig, CompareConfig, SweepConfig
from qllm_jax.config.learner import LEARNERS_WITHOUT_MIXER, LearnerConfig
from qllm_jax.config.runner import CheckpointConfig, HostsConfig, LoggingConfig, RunnerConfig
from qllm_jax.config.team import AgentConfig, MixerConfig, TaskConfig


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
