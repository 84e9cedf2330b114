"""The map in a kitchen's prompt is the kitchen."""

import numpy as np
import pytest

from qllm_jax.tasks import get_task, task_prompt
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
