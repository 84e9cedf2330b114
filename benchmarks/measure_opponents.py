"""How competent are the fixed prey and the fixed adversary?

    python benchmarks/measure_opponents.py

simple_tag: mean return of three greedy chasers against the trained, a still and a random prey.
simple_adversary: the adversary's own return (minus its distance from the goal, summed over an
episode), trained and still, while the good agents cover both landmarks.
"""

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
    """Measure and print."""
    predators = ("adversary_0", "adversary_1", "adversary_2")
    prey = recurrent_opponent(opponent_weights("simple_tag_prey"), "agent_0")
    for label, opponent in (
        ("trained", prey), ("still", still("agent_0")), ("random", wandering("agent_0")),
    ):  # fmt: skip
        mean, error = play("MPE_simple_tag_v3", predators, predators[0], opponent, chase)
        print(f"simple_tag, greedy chasers against a {label} prey: {mean:.2f} ± {error:.2f}")
    good, adversary = ("agent_0", "agent_1"), "adversary_0"
    trained = recurrent_opponent(opponent_weights("simple_adversary_adversary"), adversary)
    for label, opponent in (("trained", trained), ("still", still(adversary))):
        mean, error = play("MPE_simple_adversary_v3", good, adversary, opponent, cover_both)
        print(f"simple_adversary, return of a {label} adversary: {mean:.2f} ± {error:.2f}")


if __name__ == "__main__":
    main()
