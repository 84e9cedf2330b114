"""Hanabi: everybody sees all cards but their own.

Bard et al., "The Hanabi Challenge: A New Frontier for AI Research",
https://arxiv.org/abs/1902.00506; rules and observations as in JaxMARL. The global state is ours:
the table face up, rather than all players' observations, which hold it several times over and
leave out each player's own cards.
"""

import functools
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from qllm_jax.envs.jaxmarl_adapter import make_team_env, one_reward
from qllm_jax.errors import UserError
from qllm_jax.tasks.entry import Entry
from qllm_jax.tasks.layout import Part, tile
from qllm_jax.tasks.lazy import LazyMapping, jaxmarl
from qllm_jax.tasks.spec import TaskSpec

# No game is longer: 2 players play or discard at most 40 + 2 + 1 cards and hint at most
# 8 + 43 + 5 times; more players draw the deck down faster.
EPISODE_LENGTH = 100
_COLOURS, _RANKS = 5, 5
_CARDS = _COLOURS * _RANKS


def hanabi(num_agents: int = 2) -> TaskSpec:
    """Two to five players; one point per card on the fireworks, none if all lives are lost."""
    if not 2 <= num_agents <= 5:
        raise UserError(f"num_agents is {num_agents}; Hanabi has 2 to 5 players.")
    raw = jaxmarl().make("hanabi", num_agents=num_agents)
    env = make_team_env(
        raw,
        name="hanabi",
        episode_length=EPISODE_LENGTH,
        reward_fn=one_reward(raw.agents[0]),
        state_fn=lambda inner, obs: _table(inner),
        avail_fn=raw.get_legal_moves,
        terminated_fn=lambda inner, done: inner.terminal,
    )
    pair = num_agents == 2  # more players sit in an order, which relabelling would change
    return TaskSpec(
        name="hanabi",
        env=env,
        layout=tile(_parts(num_agents, raw.hand_size)),
        agent_names=tuple(raw.agents),
        action_names=tuple(raw.action_encoding[i] for i in range(env.num_actions)),
        interchangeable=((0, 1),) if pair else (),
        relabel_state=functools.partial(_swap_players, 1 + raw.hand_size * 35) if pair else None,
        edge_states=LazyMapping(lambda: _edge_states(raw)),
        score="points",
        landmarks={"best possible": 25.0},
        env_kwargs={"num_agents": num_agents},
    )


def _table(inner: Any) -> jax.Array:
    """`[D]`: by player turn, cards and hints; then fireworks, tokens, deck and discards."""
    num_agents, hand_size = inner.player_hands.shape[:2]
    cards = inner.player_hands.reshape(num_agents, hand_size * _CARDS)
    hints = jnp.concatenate([inner.colors_revealed, inner.ranks_revealed], axis=-1)
    players = jnp.concatenate(
        [inner.cur_player_idx[:, None], cards, hints.reshape(num_agents, -1)], axis=1
    )
    shared = [
        inner.fireworks.sum(axis=1),
        inner.info_tokens.sum()[None],
        inner.life_tokens.sum()[None],
        inner.remaining_deck_size.sum()[None],
        inner.discard_pile.sum(axis=0).reshape(-1),
    ]
    return jnp.concatenate([players.reshape(-1), *shared]).astype(jnp.float32)


def _parts(num_agents: int, hand_size: int) -> Iterator[Part]:
    for agent in range(num_agents):
        yield from _player_parts(agent, hand_size)
    for colour, name in enumerate(("red", "yellow", "green", "white", "blue")):
        yield Part(
            f"fireworks.{name}", 1, "integer, cards", 0.0, 5.0,
            f"how far the {name} firework is: its next card has this rank counted from 0",
            lambda inner, c=colour: inner.fireworks[c].sum(),  # type: ignore[misc]
        )  # fmt: skip
    yield Part(
        "info_tokens", 1, "integer, tokens", 0.0, 8.0, "hints that can still be given",
        lambda inner: inner.info_tokens.sum(),
    )  # fmt: skip
    yield Part(
        "life_tokens", 1, "integer, tokens", 0.0, 3.0, "wrong plays left; at 0 all points are lost",
        lambda inner: inner.life_tokens.sum(),
    )  # fmt: skip
    yield Part(
        "deck", 1, "integer, cards", 0.0, 40.0, "cards left in the deck",
        lambda inner: inner.remaining_deck_size.sum(),
    )  # fmt: skip
    yield Part(
        "discards", _CARDS, "integer, cards", 0.0, 3.0,
        "discarded cards by kind, index 5·colour + rank; a pile holds 3, 2, 2, 2, 1 of ranks 0..4",
        lambda inner: inner.discard_pile.sum(axis=0).reshape(-1),
    )  # fmt: skip


def _player_parts(agent: int, hand_size: int) -> Iterator[Part]:
    me = f"agent_{agent}"
    yield Part(
        f"{me}.turn", 1, "0/1", 0.0, 1.0, f"{me} is to move now; the others can only pass",
        lambda inner: inner.cur_player_idx[agent],
    )  # fmt: skip
    for card in range(hand_size):
        yield Part(
            f"{me}.card_{card}", _CARDS, "0/1", 0.0, 1.0,
            f"card {card} of {me}, one-hot at 5·colour + rank; all 0 when there is none; {me} does "
            "not see it, the others do",
            lambda inner, c=card: inner.player_hands[agent, c].reshape(-1),  # type: ignore[misc]
        )  # fmt: skip
    for card in range(hand_size):
        yield Part(
            f"{me}.hints_{card}", _COLOURS + _RANKS, "0/1", 0.0, 1.0,
            f"colour (5) and rank (5) that {me} has been told of card {card}",
            lambda inner, c=card: jnp.concatenate(  # type: ignore[misc]
                [inner.colors_revealed[agent, c], inner.ranks_revealed[agent, c]]
            ),
        )  # fmt: skip


def _swap_players(block: int, state: jax.Array, permutation: np.ndarray) -> jax.Array:
    players = state[: 2 * block].reshape(2, block)[jnp.asarray(permutation)].reshape(-1)
    return jnp.concatenate([players, state[2 * block :]])


def _edge_states(raw: Any) -> dict[str, np.ndarray]:
    """Games at their extremes, as the table shows them."""
    _, start = raw.reset(jax.random.key(0))

    def with_all(leaf, value):
        return jnp.full_like(leaf, value)

    told = start.replace(
        colors_revealed=start.player_hands.sum(axis=-1),
        ranks_revealed=start.player_hands.sum(axis=-2),
    )
    inner = {
        "start": start,
        "everything_told": told,
        "no_hints_left": start.replace(info_tokens=with_all(start.info_tokens, 0)),
        "all_lives_lost": start.replace(life_tokens=with_all(start.life_tokens, 0)),
        "fireworks_complete": start.replace(fireworks=with_all(start.fireworks, 1)),
        "empty_hands": start.replace(player_hands=with_all(start.player_hands, 0)),
        "deck_empty": start.replace(remaining_deck_size=with_all(start.remaining_deck_size, 0)),
    }
    return {name: np.asarray(_table(state))[None] for name, state in inner.items()}


TASKS = {"hanabi": Entry(hanabi)}
