"""The configuration: frozen dataclasses, checked when built. Library code sees only these.

    team       the task, the agents' network, the mixer
    learner    collection, loss, optimiser, exploration
    runner     seeds, budget, devices, hosts, checkpoints, loggers
    design     the language model and the coder–evaluator loop
    jobs       what compare, bench and sweep vary
    config     `Config`, all of these
    mapping    `Config` from nested plain values and back

Every module may import this package, from here. Hydra composes a mapping from `configs/`
(`qllm_jax.compose`); `config_from_mapping` turns that into a `Config` or explains what is wrong
with it.
"""

from qllm_jax.config.config import Config
from qllm_jax.config.design import LlmConfig, SynthesisConfig
from qllm_jax.config.jobs import BenchConfig, CompareConfig, SweepConfig
from qllm_jax.config.learner import (
    LEARNERS_WITHOUT_MIXER,
    LEARNERS_WITHOUT_REPLAY,
    TRACED_LEARNER_FIELDS,
    LearnerConfig,
)
from qllm_jax.config.mapping import config_from_mapping, config_to_mapping
from qllm_jax.config.runner import (
    ALL_THAT_FIT,
    CheckpointConfig,
    HostsConfig,
    LoggingConfig,
    RunnerConfig,
)
from qllm_jax.config.team import AgentConfig, MixerConfig, TaskConfig

__all__ = [
    "ALL_THAT_FIT",
    "AgentConfig",
    "BenchConfig",
    "CheckpointConfig",
    "CompareConfig",
    "Config",
    "HostsConfig",
    "LEARNERS_WITHOUT_MIXER",
    "LEARNERS_WITHOUT_REPLAY",
    "LearnerConfig",
    "LlmConfig",
    "LoggingConfig",
    "MixerConfig",
    "RunnerConfig",
    "SweepConfig",
    "SynthesisConfig",
    "TRACED_LEARNER_FIELDS",
    "TaskConfig",
    "config_from_mapping",
    "config_to_mapping",
]
