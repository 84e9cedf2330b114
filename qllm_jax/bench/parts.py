"""Where an iteration's time goes: its parts, each compiled and timed alone.

A part runs in a loop of as many rounds as a chunk has iterations, for all runs, on the same devices
as training. Each round's result feeds the next, so that the compiler cannot lift a round out of the
loop or drop it. Parts overlap and fuse differently inside the whole program, so that their sum is
near its time, not equal to it.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from qllm_jax.bench.throughput import time_calls
from qllm_jax.training.chunk import compile_runs
from qllm_jax.training.evaluation import evaluate
from qllm_jax.training.placement import Placement
from qllm_jax.training.replay import add, sample
from qllm_jax.training.runs import Hyper
from qllm_jax.training.state import Program, RunState
from qllm_jax.training.step import collect_windows

# A round of a part: (program, hyper, key, iteration [], state) -> (state, a number that needs all
# of the round's work).
Round = Callable[[Program, Hyper, jax.Array, jax.Array, RunState], tuple[RunState, jax.Array]]


@dataclasses.dataclass(frozen=True)
class Part:
    """Seconds that one part takes per chunk.

    Attributes:
        name: What is timed.
        seconds: Per timed call.
        rounds: How often the part occurs in a chunk: once per iteration, or once.
    """

    name: str
    seconds: tuple[float, ...]
    rounds: int


def measure_parts(
    program: Program, placement: Placement, matmul_precision: str, repeats: int
) -> list[Part]:
    """Time the parts of a chunk.

    Returns:
        Environment steps under random actions; the same with the agents' network acting; writing
        to and drawing from the replay, where the learner has one; whole iterations; an evaluation.
    """
    rounds: dict[str, Round] = {"environment": _environment, "environment and acting": _collection}
    if program.algorithm.uses_replay:
        rounds["replay"] = _replay
    rounds |= {"iteration": _iteration, "evaluation": _evaluation}
    parts = []
    for name, one_round in rounds.items():
        count = 1 if name == "evaluation" else program.schedule.iterations_per_chunk
        timed = _timed(program, one_round, count)
        call = compile_runs(timed, program, placement, matmul_precision)
        parts.append(Part(name, time_calls(call, program, repeats), count))
    return parts


def _timed(program: Program, one_round: Round, count: int) -> Callable[..., Any]:
    """`one_round`, `count` times; an argument of a whole chunk's length is cut to that."""

    def one(seed_id, hyper, state, start, iterations):
        key = jax.random.fold_in(jax.random.key(1), seed_id)

        def body(offset, carry):
            state, total = carry
            # The key depends on the round before, so that rounds cannot be done out of order.
            bits = jax.lax.bitcast_convert_type(total, jnp.uint32)
            round_key = jax.random.fold_in(jax.random.fold_in(key, offset), bits)
            state, value = one_round(program, hyper, round_key, start + offset, state)
            return state, total + value

        rounds = jnp.minimum(iterations, count)
        return jax.lax.fori_loop(0, rounds, body, (state, jnp.zeros(())))

    return one


def _environment(program, hyper, key, iteration, state):
    """A window of steps per environment, under random legal actions."""
    env = program.env
    num_envs, slots = program.learner.num_envs, program.schedule.window_length - 1
    reset_key, step_key, action_key = jax.random.split(key, 3)
    start = jax.vmap(env.reset)(jax.random.split(reset_key, num_envs))

    def body(carry, slot_keys):
        env_state, timestep = carry
        step_keys, slot_action_key = slot_keys
        noise = jax.random.uniform(slot_action_key, timestep.avail_actions.shape)
        actions = jnp.argmax(jnp.where(timestep.avail_actions, noise, -1.0), axis=-1)
        env_state, timestep = jax.vmap(env.step)(step_keys, env_state, actions)
        return (env_state, timestep), jnp.sum(timestep.reward) + jnp.sum(timestep.obs)

    keys = (
        jax.random.split(step_key, (slots, num_envs)),
        jax.random.split(action_key, slots),
    )
    _, sums = jax.lax.scan(body, start, keys)
    return state, jnp.sum(sums)


def _collection(program, hyper, key, iteration, state):
    """A window per environment, as training collects it."""
    record = collect_windows(program, hyper, key, iteration, state)
    return state, jnp.sum(record.reward) + jnp.sum(record.seen)


def _replay(program, hyper, key, iteration, state):
    """A record of noise written, and the batches of an iteration drawn."""
    learner = program.learner
    shapes = jax.eval_shape(
        lambda: collect_windows(program, hyper, jax.random.key(0), iteration, state)
    )
    noise = jax.random.uniform(key, ())
    record = jax.tree.map(lambda leaf: jnp.full(leaf.shape, noise).astype(leaf.dtype), shapes)
    replay = add(state.replay, record, iteration)
    total = jnp.zeros(())
    for index in range(learner.updates_per_window):
        batch_key = jax.random.fold_in(key, index)
        window = sample(batch_key, replay, learner.replay_capacity, learner.batch_size, program.env)
        total += jnp.sum(window.reward) + jnp.sum(window.obs) + jnp.sum(window.state)
    return dataclasses.replace(state, replay=replay), total


def _iteration(program, hyper, key, iteration, state):
    """All of a training iteration."""
    state, metrics = program.algorithm.iterate(program, hyper, key, iteration, state)
    return state, metrics.loss


def _evaluation(program, hyper, key, iteration, state):
    """Greedy play and its credits."""
    return state, evaluate(program, state.learner.params, hyper.mixer, key).episode_return
