"""Train the fixed prey of simple_tag or the fixed adversary of simple_adversary.

    python benchmarks/train_opponents.py prey
    python benchmarks/train_opponents.py adversary

Writes `qllm_jax/envs/weights/<task>.npz` (the best of a few seeds) and prints how well it plays.
The prey learns against three chasers, of which some walk at random; the adversary against good
agents that share the landmarks, follow each other or wander.
"""

import argparse
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

import qllm_jax.envs
from qllm_jax.config import (
    AgentConfig,
    Config,
    LearnerConfig,
    MixerConfig,
    RunnerConfig,
    TaskConfig,
)
from qllm_jax.envs.jaxmarl_adapter import make_team_env, memoryless, one_reward
from qllm_jax.envs.opponents import walk_towards
from qllm_jax.networks import make_mixer
from qllm_jax.tasks.catalog.mpe import EPISODE_LENGTH, make_world
from qllm_jax.tasks.spec import TaskSpec
from qllm_jax.training import run_training

WEIGHTS = Path(qllm_jax.envs.__file__).with_name("weights")
PREDATORS = ("adversary_0", "adversary_1", "adversary_2")
GOOD = ("agent_0", "agent_1")


def style(inner) -> jax.Array:
    """A number in [0, 1) that stays the same throughout an episode and differs between them."""
    return jnp.abs(inner.p_pos[-1, 0] * 1000.0) % 1.0


def chasers(key, inner, obs):
    """Walk towards the prey; in an eighth of the episodes each, one or two wander."""
    wandering = jnp.where(style(inner) < 0.125, 1, jnp.where(style(inner) < 0.25, 2, 0))
    actions = {}
    for i, agent in enumerate(PREDATORS):
        random = jax.random.randint(jax.random.fold_in(key, i), (), 0, 5)
        actions[agent] = jnp.where(i < wandering, random, walk_towards(obs[agent][12:14]))
    return actions


def good_team(key, inner, obs):
    """Share the landmarks (half of the episodes), both to the goal, or one of them wanders."""
    chosen = style(inner)
    decoy = jnp.where(inner.goal == 0, 1, 0)
    swap = (chosen * 97.0) % 1.0 < 0.5  # who of the two covers the goal
    actions = {}
    for i, agent in enumerate(GOOD):
        to_goal = obs[agent][0:2]
        to_decoy = jax.lax.dynamic_slice(obs[agent], (2 + 2 * decoy,), (2,))
        covers_goal = (chosen >= 0.5) | (swap == (i == 0))
        goes = walk_towards(jnp.where(covers_goal, to_goal, to_decoy))
        random = jax.random.randint(jax.random.fold_in(key, i), (), 0, 5)
        actions[agent] = jnp.where((chosen >= 0.75) & (i == 0), random, goes)
    return actions


TASKS = {
    "prey": ("MPE_simple_tag_v3", "agent_0", chasers, "simple_tag_prey"),
    "adversary": (
        "MPE_simple_adversary_v3", "adversary_0", good_team, "simple_adversary_adversary",
    ),
}  # fmt: skip
# Steps per seed, seeds, width of the network, discount, gradient steps per window.
SETTINGS = {
    "prey": (5_000_000, 3, 48, 0.97, 2),
    "adversary": (2_000_000, 4, 32, 0.95, 1),
}


def make_spec(who: str) -> TaskSpec:
    """The opponent's own task: one learning agent in a world of scripted ones."""
    world, agent, others, _ = TASKS[who]
    env = make_team_env(
        make_world(world),
        name=f"train/{who}",
        episode_length=EPISODE_LENGTH,
        agents=(agent,),
        reward_fn=one_reward(agent),
        opponent=memoryless(others),
        fixed_length=True,
    )
    return TaskSpec(
        name=env.name, env=env, layout=(), agent_names=(agent,), action_names=tuple("01234")
    )


def main() -> None:
    """Train, choose the best seed, save."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("who", choices=sorted(TASKS))
    args = parser.parse_args()
    steps, seeds, width, discount, updates = SETTINGS[args.who]
    spec = make_spec(args.who)
    config = Config(
        task=TaskConfig(name=spec.name),
        agent=AgentConfig(hidden_dim=width, append_agent_id=False),
        mixer=MixerConfig(name="vdn"),
        learner=LearnerConfig(
            lr=0.002, discount=discount, epsilon_decay_fraction=0.3, updates_per_window=updates
        ),
        runner=RunnerConfig(
            num_seeds=seeds, num_env_steps=steps, num_evaluations=10, num_eval_episodes=256
        ),
    )
    mixer = make_mixer(config.mixer, 1, spec.env.state_dim, ())
    output = run_training(
        spec, mixer, config,
        on_chunk=lambda report: print(f"{report.elapsed_s:.0f} s", flush=True),
    )  # fmt: skip
    returns = output.metrics["return"]  # [S, E]
    print("returns by seed", np.round(returns[:, [0, -2, -1]], 2).tolist())
    params = output.run_params(int(returns[:, -1].argmax())).agent
    weights = {key: np.asarray(params[key]) for key in params if key != "head"}
    weights["head"] = np.asarray(params["head"]["kernel"])
    weights["head_bias"] = np.asarray(params["head"]["bias"])
    path = WEIGHTS / f"{TASKS[args.who][3]}.npz"
    path.parent.mkdir(exist_ok=True)
    np.savez_compressed(path, **{key: value.astype(np.float16) for key, value in weights.items()})
    print(path.name, path.stat().st_size, "bytes")


if __name__ == "__main__":
    main()
