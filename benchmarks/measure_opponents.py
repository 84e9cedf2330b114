"""How competent are the fixed prey and the fixed adversary?

    python benchmarks/measure_opponents.py [--output FILE]

simple_tag: mean return of three greedy chasers against the trained, a still and a random prey.
simple_adversary: the adversary's own return (minus its distance from the goal, summed over an
episode), trained and still, while the good agents cover both landmarks.
"""

import argparse
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from qllm_jax.envs.jaxmarl_adapter import Opponent, make_team_env, memoryless, one_reward
from qllm_jax.envs.opponents import opponent_weights, recurrent_opponent, walk_towards
from qllm_jax.tasks.catalog.mpe import EPISODE_LENGTH, make_world
from qllm_jax.tasks.rollout import rollout

NUM_EPISODES = 4096


def play(world: str, agents, paid: str, opponent: Opponent, policy) -> tuple[float, float]:
    """Mean return of `paid` and its standard error when `agents` follow `policy`."""
    env = make_team_env(
        make_world(world),
        name=world,
        episode_length=EPISODE_LENGTH,
        agents=agents,
        reward_fn=one_reward(paid),
        opponent=opponent,
        fixed_length=True,
    )
    played = rollout(env, jax.random.key(0), NUM_EPISODES, EPISODE_LENGTH + 1, policy)
    returns = np.asarray(played.steps.reward).sum(axis=0)
    return float(returns.mean()), float(returns.std() / NUM_EPISODES**0.5)


def still(agent: str) -> Opponent:
    """Never moves."""
    return memoryless(lambda key, inner, obs: {agent: jnp.zeros((), jnp.int32)})


def wandering(agent: str) -> Opponent:
    """Moves at random."""
    return memoryless(lambda key, inner, obs: {agent: jax.random.randint(key, (), 0, 5)})


def chase(key, env_state, step):
    """All predators walk towards the prey."""
    return jax.vmap(walk_towards)(step.obs[:, 12:14])


def cover_both(key, env_state, step):
    """agent_0 walks to landmark 0, agent_1 to landmark 1: nothing is given away."""
    return jnp.stack([walk_towards(step.obs[0, 2:4]), walk_towards(step.obs[1, 4:6])])


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--output", type=Path, default=Path(__file__).parent / "results" / "opponents.json"
    )
    args = parser.parse_args()
    predators = ("adversary_0", "adversary_1", "adversary_2")
    prey = recurrent_opponent(opponent_weights("simple_tag_prey"), "agent_0")
    good, adversary = ("agent_0", "agent_1"), "adversary_0"
    trained = recurrent_opponent(opponent_weights("simple_adversary_adversary"), adversary)
    tag = ("MPE_simple_tag_v3", predators, predators[0], chase)
    hide = ("MPE_simple_adversary_v3", good, adversary, cover_both)
    cases = {
        "simple_tag, greedy chasers against the trained prey": (tag, prey),
        "simple_tag, greedy chasers against a still prey": (tag, still("agent_0")),
        "simple_tag, greedy chasers against a random prey": (tag, wandering("agent_0")),
        "simple_adversary, the trained adversary's own": (hide, trained),
        "simple_adversary, a still adversary's own": (hide, still(adversary)),
    }
    rows = {}
    for label, ((world, agents, paid, policy), opponent) in cases.items():
        mean, error = play(world, agents, paid, opponent, policy)
        rows[label] = {"mean_return": mean, "standard_error": error}
        print(f"{label}: {mean:.2f} ± {error:.2f}", flush=True)
    record = {
        "command": "python benchmarks/measure_opponents.py",
        "episodes": NUM_EPISODES,
        "jax": jax.__version__,
        "device": jax.devices()[0].device_kind,
        "rows": rows,
    }
    args.output.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
