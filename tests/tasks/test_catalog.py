"""All names of the catalog: they build, tile, and have a text; nothing runs."""

import pytest

from qllm_jax.errors import UserError
from qllm_jax.paths import data_dir
from qllm_jax.tasks import get_task, task_names, task_prompt, tasks_table
from qllm_jax.tasks.catalog.smax import SCENARIOS
from qllm_jax.tasks.layout import tiling_errors

# (agents, actions, observation, state), from the benchmarks' own descriptions
SIZES = {
    "matrix/climbing": (2, 3, (2,), 2),
    "mpe/simple_spread": (3, 5, (18,), 54),
    "mpe/simple_spread-6": (6, 5, (36,), 216),
    "mpe/simple_tag": (3, 5, (16,), 48),
    "mpe/simple_adversary": (2, 5, (10,), 20),
    "mpe/simple_reference": (2, 50, (21,), 42),
    "mpe/simple_speaker_listener": (2, 5, (11,), 14),
    "lbf/8x8-2p-2f-coop": (2, 6, (12,), 14),
    "lbf/10x10-3p-3f": (3, 6, (18,), 21),
    "lbf/15x15-4p-3f": (4, 6, (21,), 25),
    "smax/3m": (3, 8, (75,), 72),
    "smax/2s3z": (5, 10, (127,), 120),
    "smax/3s_vs_5z": (3, 10, (101,), 96),
    "smax/5m_vs_6m": (5, 11, (140,), 132),
    "overcooked/cramped_room": (2, 6, (4, 5, 26), 1040),
    "overcooked_v2/cramped_room": (2, 6, (4, 5, 30), 1200),
    "overcooked_v2/grounded_coord_simple": (2, 6, (5, 8, 40), 3200),
    "hanabi": (2, 21, (658,), 385),
    "switch_riddle": (3, 3, (2,), 6),
}
LENGTHS = {"matrix": 25, "mpe": 25, "lbf": 50, "smax": 100, "overcooked": 400, "overcooked_v2": 400}


@pytest.mark.parametrize("name", task_names())
def test_task_builds_and_its_layout_tiles(name):
    spec = get_task(name)
    assert spec.name == name
    assert tiling_errors(spec.layout, spec.env.state_dim) == []
    assert "There is no task text" not in task_prompt(spec)
    assert spec.env.episode_length == LENGTHS.get(name.split("/")[0], spec.env.episode_length)
    assert len(spec.action_names) == spec.env.num_actions
    grouped = [agent for group in spec.interchangeable for agent in group]
    assert len(grouped) == len(set(grouped))
    assert set(grouped) <= set(range(spec.env.num_agents))


@pytest.mark.parametrize("name", SIZES)
def test_sizes_are_the_benchmarks(name):
    env = get_task(name).env
    assert (env.num_agents, env.num_actions, env.obs_shape, env.state_dim) == SIZES[name]


def test_every_smax_scenario_is_there():
    from jaxmarl.environments.smax.smax_env import MAP_NAME_TO_SCENARIO

    assert set(SCENARIOS) == set(MAP_NAME_TO_SCENARIO)


def test_table_lists_every_task_with_its_sizes():
    header, *rows = tasks_table()
    assert [row[0] for row in rows] == task_names()
    assert all(len(row) == len(header) for row in rows)
    spread = next(row for row in rows if row[0] == "mpe/simple_spread")
    assert spread[1:7] == ("3", "5", "18", "54", "25", "return")


def test_every_text_belongs_to_a_task():
    folder = data_dir("prompts") / "tasks"
    texts = {str(path.relative_to(folder).with_suffix("")) for path in folder.rglob("*.md")}
    from qllm_jax.tasks.catalog import ENTRIES

    assert texts == {entry.text or name for name, entry in ENTRIES.items()}


@pytest.mark.parametrize(
    ("asked", "closest"),
    [
        ("smax/3n", "smax/3m"),
        ("overcooked/cramped", "overcooked/cramped_room"),
        ("lbf/8x8-2p-2f", "lbf/8x8-2p-2f-coop"),
        ("simple_tag", "mpe/simple_tag"),
    ],
)
def test_unknown_names_answer_with_the_closest(asked, closest):
    with pytest.raises(UserError, match=closest):
        get_task(asked)
