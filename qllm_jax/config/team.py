"""The task, the agents' network and how the agents' values are mixed."""

import dataclasses
from typing import Any, Literal

from qllm_jax.config.checks import positive
from qllm_jax.errors import require


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
            https://arxiv.org/abs/1607.06450); `pqn` needs it, having no target network.
        num_head_layers: Dense layers with ReLU between the GRU, or the second layer, and the
            outputs.
        head_init_scale: Scale of the initial orthogonal weights that give the actions' values or
            logits; 0.01 makes a policy start out almost uniform.
    """

    name: Literal["rnn", "mlp", "cnn"] = "rnn"
    hidden_dim: int = 64
    append_agent_id: bool = True
    layer_norm: bool = False
    num_head_layers: int = 0
    head_init_scale: float = 1.0

    def __post_init__(self) -> None:
        positive("agent", self, "hidden_dim", "head_init_scale")
        require(
            self.num_head_layers >= 0,
            f"agent.num_head_layers is {self.num_head_layers}; it must be ≥ 0.",
        )


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
        positive(
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
