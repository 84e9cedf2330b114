"""What an episode scores, worked out from the states it went through, task by task.

Rewards are read back from what happened (food gone, health lost, distances), not from the
environment's own sums, over all episodes of the table's rollouts.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from qllm_jax.tasks import get_task
from qllm_jax.tasks.rollout import finished_episodes, rollout


def episodes(spec, played):
    """`(inner states [L + 1, ...], return, outcome, length)` of every episode that ended."""
    finished = finished_episodes(spec, played)
    over = np.asarray(played.steps.terminated | played.steps.truncated)
    found, count = [], 0
    for env in range(over.shape[1]):
        start = 0
        for end in np.flatnonzero(over[:, env]):
            slots = slice(start, end + 1)
            inner = jax.tree.map(lambda x, e=env, s=slots: np.asarray(x[s, e]), played.env_states)
            assert finished.lengths[count] == end - start
            found.append(
                (inner.inner, finished.returns[count], finished.outcomes[count], end - start)
            )
            start, count = end + 1, count + 1
    assert count == len(finished.returns)
    return found


@pytest.fixture
def random_episodes(play):
    """`random_episodes(name)`: as `episodes`, of random play."""
    return lambda name: episodes(*play(name))


def distances(positions, others):
    return np.linalg.norm(positions - others, axis=-1)


def test_foraging_pays_the_share_of_food_levels_that_is_eaten(random_episodes):
    scores = []
    for inner, score, _, _ in random_episodes("lbf/10x10-3p-3f"):
        before, after = inner.food_level[0].sum(), inner.food_level[-1].sum()
        assert score == pytest.approx((before - after) / before, abs=1e-6)
        scores.append(score)
    assert max(scores) > 0


def test_a_battle_pays_the_enemies_lost_health_and_one_for_the_win(random_episodes):
    """3m: three enemies of 45 health each; marines do not heal."""
    scores = []
    for inner, score, won, length in random_episodes("smax/3m"):
        health = np.asarray(inner.state.unit_health, np.float64)[:, 3:]  # [L + 1, 3]
        assert (health[0] == 45).all()
        lost = (health[0] - np.maximum(health[-1], 0)).sum() / 45 / 3
        alive = inner.state.unit_alive[-1]
        assert won == float(not alive[3:].any() and alive[:3].any())
        assert score == pytest.approx(lost + won, abs=1e-5)
        assert length <= 100
        scores.append(score)
    assert max(scores) > 0


def test_a_battle_that_ends_with_dead_enemies_is_won_once():
    """All three enemies die by hand; the step after sees it, pays the bonus and ends."""
    spec = get_task("smax/3m")
    env_state, _ = spec.env.reset(jax.random.key(0))
    battle = env_state.inner.state
    dead = jnp.arange(6) >= 3
    battle = battle.replace(
        unit_health=jnp.where(dead, 0.0, battle.unit_health),
        unit_alive=battle.unit_alive & ~dead,
    )
    env_state = env_state.replace(inner=env_state.inner.replace(state=battle))
    stop = jnp.full(3, 4, jnp.int32)
    after, step = jax.jit(spec.env.step)(jax.random.key(1), env_state, stop)
    assert (float(step.reward), bool(step.terminated)) == (1.0, True)
    assert float(spec.outcome.step_fn(after, step.reward)) == 1.0


def test_chasing_pays_ten_per_touch(random_episodes):
    """A predator (radius 0.075) touches the prey (0.05) nearer than 0.125; agent 3 is the prey."""
    scores = []
    for inner, score, catches, length in random_episodes("mpe/simple_tag"):
        position = inner.p_pos[1:]  # after each step
        touches = (distances(position[:, :3], position[:, 3:4]) < 0.125).sum()
        assert (score, catches, length) == (pytest.approx(10 * touches), touches, 25)
        scores.append(score)
    assert max(scores) > 0


def test_the_adversarys_distance_is_gain_and_the_nearest_own_is_loss(random_episodes):
    """Agent 0 is the adversary, 1 and 2 are ours, then the landmarks."""
    for inner, score, _, _ in random_episodes("mpe/simple_adversary"):
        position, goal = inner.p_pos[1:].astype(np.float64), inner.goal[1:]
        target = position[np.arange(25), 3 + goal]
        gain = distances(position[:, 0], target)
        loss = np.minimum(distances(position[:, 1], target), distances(position[:, 2], target))
        assert score == pytest.approx((gain - loss).sum(), abs=1e-4)


def test_the_listeners_squared_distance_is_paid_once(random_episodes):
    """Agent 1 listens; landmarks follow the two agents."""
    for inner, score, _, _ in random_episodes("mpe/simple_speaker_listener"):
        position, goal = inner.p_pos[1:].astype(np.float64), inner.goal[1:]
        squared = ((position[:, 1] - position[np.arange(25), 2 + goal]) ** 2).sum()
        assert score == pytest.approx(-squared, abs=1e-4)


def test_both_who_refer_are_paid_for_both_distances(random_episodes):
    """Agent i's goal is where the other must go: Σ_i −|x_j − landmark(goal_j)|, j the other."""
    for inner, score, _, _ in random_episodes("mpe/simple_reference"):
        position, goal = inner.p_pos[1:].astype(np.float64), inner.goal[1:]
        total = sum(
            distances(position[:, other], position[np.arange(25), 2 + goal[:, other]]).sum()
            for other in (0, 1)
        )
        assert score == pytest.approx(-total, abs=1e-4)


def test_fireworks_score_their_cards_and_nothing_once_bombed(random_episodes):
    """Random play always bombs; who knows their own cards never does."""
    assert all(score == 0 for _, score, _, _ in random_episodes("hanabi"))

    def play_what_fits(key, env_state, step):
        """A card that fits, else a discard, else anything: actions 0–4 discard, 5–9 play."""
        inner = env_state.inner
        wanted = jax.nn.one_hot(inner.fireworks.sum(axis=1), 5)  # [colours, ranks], the next card
        fits = (inner.player_hands * wanted).sum(axis=(2, 3)) > 0  # [N, hand]
        value = jnp.zeros(step.avail_actions.shape)
        value = value.at[:, :5].set(1.0).at[:, 5:10].set(jnp.where(fits, 2.0, -1.0))
        return jnp.where(step.avail_actions, value, -2.0).argmax(axis=-1)

    spec = get_task("hanabi")
    played = rollout(spec.env, jax.random.key(0), 4, 110, play_what_fits)
    for inner, score, _, _ in episodes(spec, played):
        assert not inner.out_of_lives[-1]
        assert score == inner.fireworks[-1].sum() > 0


def test_telling_pays_one_or_costs_one(random_episodes):
    """Who tells ends the riddle: right where everybody has been in the room."""
    scores = set()
    for inner, score, solved, length in random_episodes("switch_riddle"):
        everybody = bool(np.all(inner.has_been[-1]))
        assert score in ((1.0 if everybody else -1.0), 0.0)
        assert score != 0 or length == 6  # nobody told
        assert solved == float(score > 0)
        scores.add(float(score))
    assert scores == {-1.0, 0.0, 1.0}


def test_a_delivery_is_twenty_and_one():
    """A cook beside the goal, facing it with a soup in hand, hands it over."""
    spec = get_task("overcooked/cramped_room")
    env_state, _ = spec.env.reset(jax.random.key(0))
    inner = env_state.inner
    goal = np.asarray(inner.goal_pos[0])
    beside = goal + np.array([0, -1])  # the goal is in the lower wall: face south
    direction = jnp.array([0, 1], inner.agent_dir.dtype)
    inner = inner.replace(
        agent_pos=inner.agent_pos.at[0].set(jnp.asarray(beside, inner.agent_pos.dtype)),
        agent_dir=inner.agent_dir.at[0].set(direction),
        agent_dir_idx=inner.agent_dir_idx.at[0].set(1),
        agent_inv=inner.agent_inv.at[0].set(9),
    )
    env_state = env_state.replace(inner=inner)
    interact = jnp.array([5, 4], jnp.int32)
    after, step = jax.jit(spec.env.step)(jax.random.key(1), env_state, interact)
    assert float(step.reward) == 20.0
    assert float(spec.outcome.step_fn(after, step.reward)) == 1.0
    assert int(after.inner.agent_inv[0]) == 1  # nothing in hand
