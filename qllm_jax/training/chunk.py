"""A chunk: some iterations and an evaluation, for all runs, as one compiled call."""

import dataclasses
import inspect
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from qllm_jax.config import Config
from qllm_jax.envs.team import TeamEnv
from qllm_jax.learning import make_optimizer
from qllm_jax.networks import Mixer, make_agent
from qllm_jax.schedule import make_schedule
from qllm_jax.training.evaluation import EvaluationMetrics, evaluate
from qllm_jax.training.learners import get_learner
from qllm_jax.training.runs import Hyper, Runs
from qllm_jax.training.state import Program, RunState, init_networks, init_state
from qllm_jax.training.step import UpdateMetrics, epsilon_at, no_metrics

_PRECISION = {"highest": "highest", "tf32": "tensorfloat32", "bf16": "bfloat16"}
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


def make_program(env: TeamEnv, mixer: Mixer, config: Config) -> Program:
    """Put the static parts together.

    Raises:
        UserError: The learner is unknown, the budget does not divide, or a window cannot hold an
            episode.
    """
    algorithm = get_learner(config.learner.name)
    num_outputs = env.num_actions + algorithm.num_extra_outputs
    return Program(
        env=env,
        agent=make_agent(config.agent, env.num_agents, num_outputs, env.obs_shape),
        mixer=mixer,
        optimizer=make_optimizer(config.learner.optimizer, config.learner.max_grad_norm),
        algorithm=algorithm,
        learner=config.learner,
        schedule=make_schedule(config.learner, config.runner, env.episode_length),
        num_eval_episodes=config.runner.num_eval_episodes,
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


@dataclasses.dataclass(frozen=True)
class Placement:
    """R runs on D devices, padded with copies of the last run to a multiple of D.

    Attributes:
        runs: The runs, padding included.
        sharding: Of every array with a leading run axis.
        num_runs: R, without padding; results beyond it are dropped.
    """

    runs: Runs
    sharding: NamedSharding
    num_runs: int

    def place(self, tree: Any) -> Any:
        """Put arrays with a leading run axis on the devices."""
        return jax.device_put(tree, self.sharding)


def place_runs(runs: Runs, devices: Sequence[jax.Device]) -> Placement:
    """Spread runs over `devices`, or over the first R of them where there are fewer runs."""
    used = list(devices)[: len(runs)]
    last = len(runs) - 1
    indices = [min(index, last) for index in range(-(-len(runs) // len(used)) * len(used))]
    return Placement(
        runs=runs.select(indices),
        sharding=NamedSharding(Mesh(np.array(used), ("run",)), PartitionSpec("run")),
        num_runs=len(runs),
    )


def initial_states(program: Program, placement: Placement) -> RunState:
    """Fresh runs on their devices, every leaf `[R, ...]`.

    Networks are initialised seed by seed on the host's CPU: a batched QR decomposition in a
    vmapped program can hang there, and is slow elsewhere.
    """
    with jax.default_device(_host_device()):
        init = jax.jit(lambda seed_id: init_networks(program, run_key(seed_id, _INIT)))
        by_seed = {int(seed): jax.device_get(init(seed)) for seed in set(placement.runs.seed_ids)}
    params = jax.tree.map(
        lambda *leaves: np.stack(leaves), *[by_seed[int(s)] for s in placement.runs.seed_ids]
    )
    fill = _per_run(lambda params: init_state(program, params), placement, num_same=0)
    return jax.jit(fill)(placement.place(params))


def compile_chunk(
    program: Program, placement: Placement, matmul_precision: str
) -> Callable[[RunState, int, int], tuple[RunState, ChunkMetrics]]:
    """Compile `run_chunk` ahead of time: runs are sharded over devices and vmapped on each.

    Nothing crosses runs, so the program has no communication.

    Returns:
        `(state, start, count) -> (state, ChunkMetrics)`, every leaf `[R, ...]`; `state` is donated.
    """
    seed_ids = placement.place(placement.runs.seed_ids.astype(np.int32))
    hyper = placement.place(placement.runs.hyper)

    def chunk(seed_id, hyper, state, start, count):
        return run_chunk(program, seed_id, hyper, state, start, count)

    one = jax.eval_shape(lambda: init_state(program, init_networks(program, run_key(0, _INIT))))
    state = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(
            (len(placement.runs), *leaf.shape), leaf.dtype, sharding=placement.sharding
        ),
        one,
    )
    counter = jax.ShapeDtypeStruct((), np.int32)
    jitted = jax.jit(_per_run(chunk, placement, num_same=2), donate_argnums=(2,))
    with jax.default_matmul_precision(_PRECISION[matmul_precision]):
        lowered = jitted.lower(seed_ids, hyper, state, counter, counter)
    compiled = lowered.compile(compiler_options=_compiler_options(placement))

    def call(state: RunState, start: int, count: int) -> tuple[RunState, ChunkMetrics]:
        return compiled(seed_ids, hyper, state, np.int32(start), np.int32(count))

    return call


def _per_run(function: Callable[..., Any], placement: Placement, num_same: int) -> Callable:
    """`function` of one run, over each device's runs, sharded over the devices.

    An accelerator does its runs at once. A CPU device does them one after the other: its caches
    hold one run's activations, not all of them.

    Args:
        function: Of one run.
        placement: Which runs, where.
        num_same: How many of the last arguments are the same for every run.
    """
    spec, mesh = placement.sharding.spec, placement.sharding.mesh
    num_split = len(inspect.signature(function).parameters) - num_same

    def one_device(*args: Any) -> Any:
        split, same = args[:num_split], args[num_split:]
        if mesh.devices.flat[0].platform == "cpu":
            return jax.lax.map(lambda rows: function(*rows, *same), split)
        return jax.vmap(lambda *rows: function(*rows, *same))(*split)

    return jax.shard_map(
        one_device,
        mesh=mesh,
        in_specs=(spec,) * num_split + (PartitionSpec(),) * num_same,
        out_specs=spec,
        check_vma=False,
    )


def _compiler_options(placement: Placement) -> dict[str, str | bool]:
    """Options of XLA: on the CPU, full vectors, which it leaves unused unless asked."""
    on_cpu = placement.sharding.mesh.devices.flat[0].platform == "cpu"
    return {"xla_cpu_prefer_vector_width": "512"} if on_cpu else {}


def _host_device() -> jax.Device:
    try:
        return jax.local_devices(backend="cpu")[0]
    except RuntimeError:  # JAX_PLATFORMS leaves out the CPU
        return jax.local_devices()[0]
