"""The map in a kitchen's prompt is the kitchen; what only the second version has."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from qllm_jax.errors import UserError
from qllm_jax.tasks import get_task, task_prompt
from qllm_jax.tasks.catalog import overcooked_v2
from qllm_jax.tasks.catalog.overcooked import LAYOUTS


@pytest.mark.parametrize(
    "layout",
    [pytest.param(n, marks=() if n == "cramped_room" else pytest.mark.nightly) for n in LAYOUTS],
)
def test_map_shows_what_jaxmarl_places(layout):
    """Against JaxMARL's lists of cells, which the map does not read."""
    from jaxmarl.environments.overcooked import overcooked_layouts

    placed = overcooked_layouts[layout]
    expected = np.full(placed["height"] * placed["width"], ".")
    for letter, what in (
        ("#", "wall_idx"),
        ("P", "pot_idx"),
        ("O", "onion_pile_idx"),
        ("D", "plate_pile_idx"),
        ("X", "goal_idx"),
    ):
        expected[np.asarray(placed[what])] = letter
    expected[np.asarray(placed["agent_idx"])] = ["0", "1"]
    rows = ["    " + "".join(row) for row in expected.reshape(placed["height"], -1)]
    assert "\n".join(rows) in task_prompt(get_task(f"overcooked/{layout}"))


def test_second_version_maps_show_jaxmarls_own_drawings():
    """JaxMARL draws its layouts in letters of its own; ours are read off the start state."""
    from jaxmarl.environments.overcooked_v2 import layouts

    ours = str.maketrans({"W": "#", "B": "D", "L": "B", " ": ".", "O": "a", "A": "."})
    ours |= {ord(str(k)): "abcd"[k] for k in range(4)}
    for name in overcooked_v2.LAYOUTS:
        drawn = getattr(layouts, name).strip("\n").split("\n")
        width = max(map(len, drawn))
        expected = [row.ljust(width).translate(ours) for row in drawn]
        for agent, (column, row) in enumerate(layouts.overcooked_v2_layouts[name].agent_positions):
            line = expected[row]
            expected[row] = f"{line[:column]}{agent}{line[column + 1 :]}"
        assert "\n".join(f"    {row}" for row in expected) in overcooked_v2.kitchen(name).drawing()


def facing_goal(spec, inventory):
    """A state in which agent_0 stands above the goal of `cramped_room_v2`, and faces it."""
    state, _ = spec.env.reset(jax.random.key(0))
    agents = state.inner.agents
    agents = agents.replace(
        pos=agents.pos.replace(x=jnp.array([3, 1]), y=jnp.array([2, 1])),
        dir=jnp.array([1, 0]),
        inventory=jnp.array([inventory, 0]),
    )
    return state.replace(inner=state.inner.replace(agents=agents))


@pytest.mark.parametrize(
    ("settings", "is_right", "reward"),
    [({}, True, 20.0), ({}, False, 0.0), ({"negative_rewards": True}, False, -20.0)],
)
def test_the_right_soup_pays_and_counts(settings, is_right, reward):
    spec = get_task("overcooked_v2/cramped_room_v2", **settings)
    start, _ = spec.env.reset(jax.random.key(0))
    recipe = int(start.inner.recipe)
    soup = recipe if is_right else (2 << 2) + (1 << 4) if recipe != (2 << 2) + (1 << 4) else 3 << 2
    state = facing_goal(spec, soup | 1 | 2)  # a plate of something cooked
    state = state.replace(inner=state.inner.replace(recipe=start.inner.recipe))
    state, step = jax.jit(spec.env.step)(jax.random.key(1), state, jnp.array([5, 4]))
    assert float(step.reward) == reward
    assert float(spec.outcome.step_fn(state, step.reward)) == float(is_right)


def test_a_cook_sees_a_window_of_the_kitchen_and_the_state_all_of_it():
    whole = get_task("overcooked_v2/two_rooms")
    part = get_task("overcooked_v2/two_rooms", agent_view_size=2)
    assert whole.env.obs_shape == (5, 9, 35)
    assert part.env.obs_shape == (5, 5, 35)
    key = jax.random.key(3)
    (_, seen), (_, seen_in_part) = jax.jit(whole.env.reset)(key), jax.jit(part.env.reset)(key)
    np.testing.assert_array_equal(seen.state, seen_in_part.state)
    # agent_0 stands at row 2, column 2 of a 5 x 9 kitchen: two cells around it are all rows
    np.testing.assert_array_equal(seen_in_part.obs[0], seen.obs[0, :, 0:5])


def test_a_view_of_no_cells_is_refused():
    with pytest.raises(UserError, match="agent_view_size is 0"):
        get_task("overcooked_v2/two_rooms", agent_view_size=0)
