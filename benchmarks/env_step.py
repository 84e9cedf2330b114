"""What does the adapter cost? Its step against the bare vmapped environment's, in one run.

    python benchmarks/env_step.py [task ...] [--envs 1 128 4096]

Both play the same random actions in a scan; "bare" is JaxMARL's `step` with its auto-reset, which
any training loop needs, "bare step_env" is the step alone. Rates are medians of interleaved
repetitions; a ratio above 0.9 means that the adapter costs less than a tenth.
"""

import argparse
import time

import jax
import jax.numpy as jnp
import numpy as np

from qllm_jax.tasks import get_task
from qllm_jax.tasks.lazy import jaxmarl


def bare_env(task: str):
    """The environment without the adapter."""
    family, _, name = task.partition("/")
    if family == "smax":
        from jaxmarl.environments.smax import map_name_to_scenario

        return jaxmarl().make("HeuristicEnemySMAX", scenario=map_name_to_scenario(name))
    return jaxmarl().make({"mpe/simple_spread": "MPE_simple_spread_v3",
                           "mpe/simple_reference": "MPE_simple_reference_v3",
                           "overcooked/cramped_room": "overcooked"}[task])  # fmt: skip


def bare_run(env, num_envs: int, num_steps: int, with_reset: bool):
    """`key -> checksum`, with observations, state and rewards kept alive."""
    step_fn = env.step if with_reset else env.step_env
    counts = [env.action_space(agent).n for agent in env.agents]

    def one(key, state):
        key_action, key_step = jax.random.split(key)
        draws = jax.random.randint(key_action, (len(counts),), 0, jnp.asarray(counts))
        actions = dict(zip(env.agents, draws, strict=True))
        obs, state, rewards, dones, _ = step_fn(key_step, state, actions)
        stacked = jnp.stack([obs[agent].astype(jnp.float32) for agent in env.agents])
        total = stacked.sum() + sum(rewards[agent] for agent in env.agents)
        return state, total + dones["__all__"]

    def run(key):
        key_reset, key_steps = jax.random.split(key)
        _, states = jax.vmap(env.reset)(jax.random.split(key_reset, num_envs))

        def body(states, key):
            states, total = jax.vmap(one)(jax.random.split(key, num_envs), states)
            return states, total.sum()

        return jax.lax.scan(body, states, jax.random.split(key_steps, num_steps))[1].sum()

    return jax.jit(run)


def adapted_run(spec, raw, num_envs: int, num_steps: int, with_reset: bool):
    """The same through the adapter; resets as the collector does, where an episode is over."""
    env = spec.env
    counts = jnp.asarray([raw.action_space(agent).n for agent in spec.agent_names])

    def one(key, carry):
        state, step = carry
        key_action, key_step = jax.random.split(key)
        actions = jax.random.randint(key_action, (env.num_agents,), 0, counts)
        new_state, new_step = env.step(key_step, state, actions)
        if with_reset:
            over = step.terminated | step.truncated
            fresh = env.reset(key_step)
            new_state, new_step = jax.tree.map(
                lambda a, b: jnp.where(over, a, b), fresh, (new_state, new_step)
            )
        total = new_step.obs.sum() + new_step.reward + new_step.terminated + new_step.truncated
        return (new_state, new_step), total

    def run(key):
        key_reset, key_steps = jax.random.split(key)
        carry = jax.vmap(env.reset)(jax.random.split(key_reset, num_envs))

        def body(carry, key):
            carry, total = jax.vmap(one)(jax.random.split(key, num_envs), carry)
            return carry, total.sum()

        return jax.lax.scan(body, carry, jax.random.split(key_steps, num_steps))[1].sum()

    return jax.jit(run)


def rates(runs, num_env_steps: int, repetitions: int) -> list[float]:
    """Median steps per second of each, interleaved so that a drifting machine is fair."""
    key = jax.random.key(0)
    for run in runs:
        run(key).block_until_ready()
    seconds = np.zeros((repetitions, len(runs)))
    for repetition in range(repetitions):
        for i, run in enumerate(runs):
            begin = time.perf_counter()
            run(key).block_until_ready()
            seconds[repetition, i] = time.perf_counter() - begin
    return (num_env_steps / np.median(seconds, axis=0)).tolist()


def main() -> None:
    """Measure every task at every width."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tasks", nargs="*", default=["mpe/simple_spread", "smax/3m"])
    parser.add_argument("--envs", type=int, nargs="*", default=[1, 128, 4096])
    parser.add_argument("--repetitions", type=int, default=7)
    args = parser.parse_args()
    print(f"{'task':26}{'envs':>6}{'bare/s':>12}{'adapter/s':>12}{'ratio':>7}{'step alone':>12}")
    for task in args.tasks:
        spec, raw = get_task(task), bare_env(task)
        for num_envs in args.envs:
            num_steps = max(8, min(2000, 200_000 // num_envs))
            sizes = (num_envs, num_steps)
            bare, adapted, bare_alone, alone = rates(
                [
                    bare_run(raw, *sizes, with_reset=True),
                    adapted_run(spec, raw, *sizes, with_reset=True),
                    bare_run(raw, *sizes, with_reset=False),
                    adapted_run(spec, raw, *sizes, with_reset=False),
                ],
                num_envs * num_steps,
                args.repetitions,
            )
            print(
                f"{task:26}{num_envs:6}{bare:12,.0f}{adapted:12,.0f}{adapted / bare:7.2f}"
                f"{alone / bare_alone:12.2f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
