"""A chunk: some iterations and an evaluation, for all runs, as one compiled call."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax.sharding import PartitionSpec

from qllm_jax.config import Config
from qllm_jax.envs.team import TeamEnv
from qllm_jax.learning import make_optimizer
from qllm_jax.networks import Mixer, TeamSizes, make_agent
from qllm_jax.schedule import make_schedule
from qllm_jax.tasks.spec import Outcome
from qllm_jax.training.evaluation import EvaluationMetrics, evaluate
from qllm_jax.training.learners import get_learner
from qllm_jax.training.placement import Placement
from qllm_jax.training.precision import matmul_precision_scope
from qllm_jax.training.runs import Hyper
from qllm_jax.training.state import Program, RunState, init_networks, init_state
from qllm_jax.training.step import UpdateMetrics, epsilon_at, no_metrics

# On the CPU XLA leaves full vectors unused unless asked; and more of LLVM's passes than the first
# level's cost a third of the compile time without making a program faster.
_CPU_OPTIONS: dict[str, Any] = {
    "xla_cpu_prefer_vector_width": "512",
    "xla_backend_optimization_level": 1,
}
_INIT, _TRAIN, _EVALUATE = 0, 1, 2  # folded into a run's key: one stream per purpose


@struct.dataclass
class ChunkMetrics:
    """What a chunk reports, `[R]` per leaf; update metrics are NaN where none happened."""

    loss: jax.Array
    td_error: jax.Array
    q_tot: jax.Array
    grad_norm: jax.Array
    epsilon: jax.Array  # of the next iteration
    alive: jax.Array  # bool
    evaluation: EvaluationMetrics


def make_program(
    env: TeamEnv, mixer: Mixer, config: Config, outcome: Outcome | None = None
) -> Program:
    """Put the static parts together.

    Args:
        env: The task's environment.
        mixer: How agents' values are combined; learners without a mixer bring a critic instead.
        config: Budget, learner, agents.
        outcome: What evaluation reports beside the return.

    Raises:
        UserError: The learner is unknown, the budget does not divide, or a window cannot hold an
            episode.
    """
    learner, algorithm = config.learner, get_learner(config.learner.name)
    lr_by_field = None
    if algorithm.make_critic is not None:
        lr_by_field = {"agent": 1.0, "mixer": learner.critic_lr_factor}
        sizes = TeamSizes(env.num_agents, env.state_dim, env.num_actions)
        critic = dataclasses.replace(config.agent, hidden_dim=learner.critic_hidden_dim)
        mixer = algorithm.make_critic(sizes, critic)
    return Program(
        env=env,
        agent=make_agent(
            config.agent,
            env.num_agents,
            env.num_actions,
            env.obs_shape,
            num_values=algorithm.num_extra_outputs,
        ),
        mixer=mixer,
        optimizer=make_optimizer(
            learner.optimizer,
            learner.max_grad_norm,
            epsilon=learner.optimizer_epsilon,
            lr_by_field=lr_by_field,
        ),
        algorithm=algorithm,
        learner=config.learner,
        schedule=make_schedule(config.learner, config.runner, env.episode_length),
        num_eval_episodes=config.runner.num_eval_episodes,
        outcome=outcome,
    )


def run_key(seed_id: jax.Array | int, purpose: int) -> jax.Array:
    """A run's key for one purpose; it depends on nothing but the seed id."""
    return jax.random.fold_in(jax.random.fold_in(jax.random.key(0), seed_id), purpose)


def run_chunk(
    program: Program,
    seed_id: jax.Array,
    hyper: Hyper,
    state: RunState,
    start: jax.Array,
    count: jax.Array,
) -> tuple[RunState, ChunkMetrics]:
    """Do iterations `start … start + count - 1` of one run, then evaluate it.

    Args:
        program: What is static.
        seed_id: `[]` int32.
        hyper: Traced settings of this run.
        state: The run before.
        start: `[]` int32, iterations done before.
        count: `[]` int32, iterations to do; 0 evaluates only. `start` and `count` are the same in
            every run, so that vmap leaves the loop a loop.
    """
    train_key = run_key(seed_id, _TRAIN)

    def body(offset: jax.Array, carry: tuple[RunState, UpdateMetrics]) -> Any:
        state, sums = carry
        iteration = start + offset
        key = jax.random.fold_in(train_key, iteration)
        state, metrics = program.algorithm.iterate(program, hyper, key, iteration, state)
        return state, jax.tree.map(jnp.add, sums, metrics)

    state, sums = jax.lax.fori_loop(0, count, body, (state, no_metrics()))
    end = start + count
    evaluation = evaluate(
        program,
        state.learner.params,
        hyper.mixer,
        jax.random.fold_in(run_key(seed_id, _EVALUATE), end),
    )
    return state, ChunkMetrics(
        loss=sums.loss / sums.num_updates,
        td_error=sums.td_error / sums.num_updates,
        q_tot=sums.q_tot / sums.num_updates,
        grad_norm=sums.grad_norm / sums.num_updates,
        epsilon=epsilon_at(program, hyper, end),
        alive=state.learner.alive,
        evaluation=evaluation,
    )


def make_initialiser(program: Program, placement: Placement) -> Callable[[Placement], RunState]:
    """How to make fresh runs on their devices, every leaf `[R, ...]`.

    Networks are initialised seed by seed on the host's CPU: a batched QR decomposition in a
    vmapped program can hang there, and is slow elsewhere.

    Args:
        program: What is static.
        placement: Of as many runs, on the same devices, as will be asked for.
    """
    init = jax.jit(lambda seed_id: init_networks(program, run_key(seed_id, _INIT)))
    spec = placement.sharding.spec
    fill = jax.jit(
        jax.shard_map(
            jax.vmap(lambda params: init_state(program, params)),
            mesh=placement.sharding.mesh,
            in_specs=spec,
            out_specs=spec,
            check_vma=False,
        )
    )

    def initialise(placement: Placement) -> RunState:
        seed_ids = [int(seed) for seed in placement.runs.seed_ids]
        with jax.default_device(_host_device()):
            by_seed = {seed: jax.device_get(init(seed)) for seed in sorted(set(seed_ids))}
        params = jax.tree.map(
            lambda *leaves: np.stack(leaves), *[by_seed[seed] for seed in seed_ids]
        )
        return fill(placement.place(params))

    return initialise


def initial_states(program: Program, placement: Placement) -> RunState:
    """Fresh runs on their devices, once."""
    return make_initialiser(program, placement)(placement)


def state_struct(program: Program) -> RunState:
    """Shapes and types of one run's state."""
    return jax.eval_shape(lambda: init_state(program, init_networks(program, run_key(0, _INIT))))


@dataclasses.dataclass(frozen=True)
class CompiledChunk:
    """A compiled program with the runs that it is for.

    Attributes:
        executable: JAX's compiled `(seed_ids, hyper, state, start, count)`.
        placement: The runs.
        seed_ids: `[R]`, on the devices.
        hyper: Traced settings, `[R]`, on the devices.
    """

    executable: Any
    placement: Placement
    seed_ids: jax.Array
    hyper: Hyper

    def __call__(self, state: RunState, start: int, count: int) -> Any:
        """`(RunState, ChunkMetrics)`, or what the function returns; `state` is donated."""
        return self.executable(self.seed_ids, self.hyper, state, np.int32(start), np.int32(count))

    @property
    def num_bytes(self) -> int:
        """Memory on each device, by the program's own analysis; what is donated counts once."""
        memory = self.executable.memory_analysis()
        return (
            memory.argument_size_in_bytes
            + memory.output_size_in_bytes
            + memory.temp_size_in_bytes
            - memory.alias_size_in_bytes
        )

    def for_runs(self, placement: Placement) -> "CompiledChunk":
        """The same program for other runs, as many on the same devices."""
        assert len(placement.runs) == len(self.placement.runs), "one program has one size"
        return CompiledChunk(self.executable, placement, *_traced(placement))


def compile_chunk(program: Program, placement: Placement, matmul_precision: str) -> CompiledChunk:
    """Compile `run_chunk` ahead of time: runs are sharded over devices and vmapped on each.

    Nothing crosses runs, so the program has no communication.

    Returns:
        `(state, start, count) -> (state, ChunkMetrics)`, every leaf `[R, ...]`; `state` is donated.
    """

    def one(seed_id, hyper, state, start, count):
        return run_chunk(program, seed_id, hyper, state, start, count)

    return compile_runs(one, program, placement, matmul_precision)


def compile_runs(
    one: Callable[..., tuple[RunState, Any]],
    program: Program,
    placement: Placement,
    matmul_precision: str,
) -> CompiledChunk:
    """Compile `one(seed_id, hyper, state, start, count) -> (state, outputs)` for all runs."""
    state = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(
            (len(placement.runs), *leaf.shape), leaf.dtype, sharding=placement.sharding
        ),
        state_struct(program),
    )
    traced = _traced(placement)
    counter = jax.ShapeDtypeStruct((), np.int32)
    jitted = jax.jit(_on_each_device(one, placement), donate_argnums=(2,))
    with matmul_precision_scope(matmul_precision):
        lowered = jitted.lower(*traced, state, counter, counter)
    options = _CPU_OPTIONS if placement.on_cpu else {}
    return CompiledChunk(lowered.compile(compiler_options=options), placement, *traced)


def _traced(placement: Placement) -> tuple[Any, Any]:
    """Seed ids and settings on the devices."""
    return (
        placement.place(placement.runs.seed_ids.astype(np.int32)),
        placement.place(placement.runs.hyper),
    )


def _on_each_device(one: Callable[..., Any], placement: Placement) -> Callable[..., Any]:
    """`one` run's function for all runs, sharded over the devices.

    An accelerator does its runs at once. A CPU device does them one after the other: its caches
    hold one run's activations, not all of them. Each state is replaced in place, so that memory
    holds all states once and one run's intermediates.
    """
    sharded = placement.sharding.spec

    def one_after_the_other(seed_ids, hyper, states, start, count):
        def body(states: RunState, row: Any) -> tuple[RunState, Any]:
            index, seed_id, one_hyper = row
            before = jax.tree.map(
                lambda leaf: jax.lax.dynamic_index_in_dim(leaf, index, keepdims=False), states
            )
            after, outputs = one(seed_id, one_hyper, before, start, count)
            states = jax.tree.map(
                lambda leaf, new: jax.lax.dynamic_update_index_in_dim(leaf, new, index, 0),
                states,
                after,
            )
            return states, outputs

        indices = jnp.arange(len(seed_ids), dtype=jnp.int32)
        return jax.lax.scan(body, states, (indices, seed_ids, hyper))

    at_once = jax.vmap(one, in_axes=(0, 0, 0, None, None))
    return jax.shard_map(
        one_after_the_other if placement.on_cpu else at_once,
        mesh=placement.sharding.mesh,
        in_specs=(sharded, sharded, sharded, PartitionSpec(), PartitionSpec()),
        out_specs=sharded,
        check_vma=False,
    )


def _host_device() -> jax.Device:
    try:
        return jax.local_devices(backend="cpu")[0]
    except RuntimeError:  # JAX_PLATFORMS leaves out the CPU
        return jax.local_devices()[0]
