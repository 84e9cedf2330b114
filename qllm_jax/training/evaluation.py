"""Greedy play: one episode per environment, its team return and outcome, and who got the credit."""

import jax
import jax.numpy as jnp
from flax import struct

from qllm_jax.learning import NetworkParams, greedy_actions
from qllm_jax.networks import MixerHyper
from qllm_jax.training.state import Program
from qllm_jax.types import EnvState, Params, TimeStep

_CREDIT_EPISODES = 8  # enough for means over 8 L states; credits of all episodes would cost more
_SAME_CREDIT = 1e-5  # relative spread below which credits count as equal


@struct.dataclass
class GreedySlot:
    """One greedy step: what was seen, what was done, what it brought."""

    env_state: EnvState  # before the step
    state: jax.Array  # [..., D]
    q_values: jax.Array  # [..., N, A]; logits where the learner has policies
    actions: jax.Array  # [..., N] int32
    agent_qs: jax.Array  # [..., N] what the mixer mixes: values of the actions, or local values
    reward: jax.Array  # [...]
    outcome: jax.Array | None  # [...] the step's part of the task's outcome, if it has one
    playing: jax.Array  # [...] bool, the episode had not ended before


@struct.dataclass
class EvaluationMetrics:
    """Means over episodes (return, outcome) and over visited states (credit)."""

    episode_return: jax.Array  # [] undiscounted team return
    outcome: jax.Array | None  # [] such as the win rate; None where the task has none
    credit_mean: jax.Array  # [N] of ∂q_tot/∂q_i
    credit_std: jax.Array  # [N] over states
    credit_uniform: jax.Array  # [] share of states where all agents get the same credit
    credit_zero: jax.Array  # [] share of states where no agent gets any


def play_greedy(
    program: Program, agent_params: Params, key: jax.Array, num_episodes: int
) -> tuple[GreedySlot, EnvState, TimeStep]:
    """Play `num_episodes` episodes side by side, each to its end or the time limit.

    Args:
        program: What is static.
        agent_params: Of the acting network.
        key: Consumed.
        num_episodes: B.

    Returns:
        Slots `[L, B, ...]`, and the environments' states and `TimeStep`s `[B, ...]` after slot L.
    """
    env, agent = program.env, program.agent
    reset_key, step_key = jax.random.split(key)
    step_keys = jax.random.split(step_key, (env.episode_length, num_episodes))

    def body(carry, keys):
        env_state, timestep, hidden, playing = carry
        hidden, outputs = agent.step(
            agent_params, hidden, timestep.obs, jnp.zeros((num_episodes,), bool)
        )
        q_values = outputs[..., : env.num_actions]
        actions = greedy_actions(q_values, timestep.avail_actions)
        new_env_state, new_timestep = jax.vmap(env.step)(keys, env_state, actions)
        slot = GreedySlot(
            env_state=env_state,
            state=timestep.state,
            q_values=q_values,
            actions=actions,
            agent_qs=program.algorithm.agent_values(outputs, actions),
            reward=jnp.where(playing, new_timestep.reward, 0.0),
            outcome=_outcome(program, new_env_state, new_timestep, playing),
            playing=playing,
        )
        playing &= ~(new_timestep.terminated | new_timestep.truncated)
        return (new_env_state, new_timestep, hidden, playing), slot

    env_state, timestep = jax.vmap(env.reset)(jax.random.split(reset_key, num_episodes))
    playing = jnp.ones((num_episodes,), bool)
    start = (env_state, timestep, agent.initial_hidden(num_episodes), playing)
    (env_state, timestep, _, _), slots = jax.lax.scan(body, start, step_keys)
    return slots, env_state, timestep


def _outcome(
    program: Program, env_state: EnvState, timestep: TimeStep, playing: jax.Array
) -> jax.Array | None:
    """What a step adds to each episode's outcome, `[B]`; nothing once an episode has ended."""
    if program.outcome is None:
        return None
    values = jax.vmap(program.outcome.step_fn)(env_state, timestep.reward)
    return jnp.where(playing, values, 0.0)


def credits(
    program: Program,
    mixer_params: Params,
    agent_qs: jax.Array,
    state: jax.Array,
    hyper: MixerHyper,
) -> jax.Array:
    """Credit ∂q_tot/∂q_i of every agent; of the values' sum where the mixer has several.

    Args:
        program: What is static.
        mixer_params: Of the mixer.
        agent_qs: `[..., N]`.
        state: `[..., D]`.
        hyper: The mixer's traced settings.

    Returns:
        `[..., N]`.
    """

    def total(agent_qs: jax.Array, state: jax.Array) -> jax.Array:
        return jnp.sum(program.mixer.apply(mixer_params, agent_qs, state, hyper))

    gradient = jnp.vectorize(jax.grad(total), signature="(n),(d)->(n)")
    return gradient(agent_qs, state)


@jax.named_scope("evaluation")
def evaluate(
    program: Program, params: NetworkParams, hyper: MixerHyper, key: jax.Array
) -> EvaluationMetrics:
    """Play greedily and reduce; `key` is consumed."""
    slots, _, _ = play_greedy(program, params.agent, key, program.num_eval_episodes)
    few = slice(0, min(_CREDIT_EPISODES, program.num_eval_episodes))
    credit = credits(
        program, params.mixer, slots.agent_qs[:, few], slots.state[:, few], hyper
    )  # [L, few, N]
    weight = slots.playing[:, few].astype(jnp.float32)
    weight /= jnp.sum(weight)
    mean = jnp.sum(credit * weight[..., None], axis=(0, 1))
    variance = jnp.sum((credit - mean) ** 2 * weight[..., None], axis=(0, 1))
    largest = jnp.max(jnp.abs(credit), axis=-1)
    spread = jnp.max(credit, axis=-1) - jnp.min(credit, axis=-1)
    return EvaluationMetrics(
        episode_return=jnp.mean(jnp.sum(slots.reward, axis=0)),
        outcome=None if slots.outcome is None else jnp.mean(jnp.sum(slots.outcome, axis=0)),
        credit_mean=mean,
        credit_std=jnp.sqrt(variance),
        credit_uniform=jnp.sum(weight * (spread <= _SAME_CREDIT * largest)),
        credit_zero=jnp.sum(weight * (largest == 0.0)),
    )
