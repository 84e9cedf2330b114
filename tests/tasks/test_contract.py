"""Every task of the catalog, by one table: layout, boundaries, edge states, pictures, prompt."""

import dataclasses
import math

import jax
import numpy as np
import pytest
from task_params import nightly_but

from qllm_jax.tasks import task_names, task_prompt
from qllm_jax.tasks.layout import layout_errors, tiling_errors
from qllm_jax.tasks.rollout import finished_episodes

# One of each family and shape of state; the others differ in a constant, and are nightly.
ORDINARY = {
    "hanabi",
    "lbf/8x8-2p-2f-coop",
    "lbf/10x10-3p-3f",
    "matrix/climbing",
    "matrix/penalty",
    "mpe/simple_adversary",
    "mpe/simple_reference",
    "mpe/simple_speaker_listener",
    "mpe/simple_spread",
    "mpe/simple_tag",
    "overcooked/cramped_room",
    "overcooked_v2/cramped_room_v2",
    "smax/3m",
    "switch_riddle",
}
PICTURELESS = ("hanabi", "switch_riddle")

pytestmark = pytest.mark.parametrize("name", nightly_but(ORDINARY, task_names()))


def test_shapes_are_what_the_spec_says(name, play):
    spec, played = play(name)
    env, slots = spec.env, played.steps.reward.shape
    assert played.steps.obs.shape == (*slots, env.num_agents, *env.obs_shape)
    assert played.steps.state.shape == (*slots, env.state_dim)
    assert played.steps.avail_actions.shape == (*slots, env.num_agents, env.num_actions)
    for array in (played.steps.obs, played.steps.state, played.steps.reward):
        assert array.dtype == np.float32
        assert np.isfinite(array).all()
    assert played.steps.avail_actions.any(axis=-1).all()
    assert len(spec.agent_names) == env.num_agents
    assert len(spec.action_names) == env.num_actions


def test_layout_tiles_the_state(name, play):
    spec, _ = play(name)
    assert tiling_errors(spec.layout, spec.env.state_dim) == []


def test_layout_says_what_the_state_holds(name, play, flat):
    spec, played = play(name)
    assert layout_errors(spec.layout, *flat(played)) == []


def test_swapped_slices_are_found(name, play, flat):
    """A layout in which two fields have changed places must not pass."""
    spec, played = play(name)
    first, other = _two_that_differ(spec.layout, flat(played)[1])
    swapped = tuple(
        dataclasses.replace(
            field,
            from_env_state=(
                other if field is first else first if field is other else field
            ).from_env_state,
        )
        for field in spec.layout
    )
    errors = layout_errors(swapped, *flat(played))
    assert [error.split()[0] for error in errors] == [first.name, other.name]


def _two_that_differ(layout, states):
    """The first and the last pair of fields of one size whose contents differ."""
    for first in layout:
        for other in layout[::-1]:
            one, two = (states[:, field.start : field.stop] for field in (first, other))
            if one.shape == two.shape and not np.allclose(one, two):
                return first, other
    raise AssertionError("no two fields can be told apart")


def test_episodes_end_exactly_and_start_afresh(name, play):
    spec, played = play(name)
    over = np.asarray(played.steps.terminated | played.steps.truncated)
    assert not (played.steps.terminated & played.steps.truncated).any()
    finished = finished_episodes(spec, played)
    assert len(finished.lengths) > 0
    assert finished.lengths.max() <= spec.env.episode_length
    truncated = np.asarray(played.steps.truncated)
    num_steps = np.asarray(played.env_states.num_steps)
    assert (num_steps[truncated] == spec.env.episode_length).all()
    assert (num_steps[1:][over[:-1]] == 0).all()
    if spec.env.fixed_length:
        assert (finished.lengths == spec.env.episode_length).all()
        assert not played.steps.terminated.any()


def test_state_follows_from_observations_where_it_is_said(name, play):
    spec, played = play(name)
    if spec.env.all_actions_available:
        assert played.steps.avail_actions.all()
    if spec.env.state_from_obs is None:
        return
    recomputed = jax.vmap(jax.vmap(spec.env.state_from_obs))(played.steps.obs)
    np.testing.assert_array_equal(recomputed, played.steps.state)


def test_observations_follow_from_their_code_where_there_is_one(name, play):
    spec, played = play(name)
    code = spec.env.obs_code
    if code is None:
        return
    assert code.size < spec.env.num_agents * math.prod(spec.env.obs_shape)
    codes = jax.vmap(jax.vmap(code.encode))(played.env_states)
    assert codes.shape[2:] == (code.size,)
    decoded = jax.vmap(jax.vmap(code.decode))(codes)
    np.testing.assert_allclose(decoded, played.steps.obs, rtol=0, atol=1e-6)  # fused sums round


def test_edge_states_are_states(name, play):
    spec, _ = play(name)
    assert spec.edge_states
    for label, states in spec.edge_states.items():
        assert states.shape[1:] == (spec.env.state_dim,), label
        assert states.dtype == np.float32, label
        assert np.isfinite(states).all(), label
        for field in spec.layout:
            values = states[:, field.start : field.stop]
            assert (values >= field.low - 1e-5).all(), (label, field.name)
            assert (values <= field.high + 1e-5).all(), (label, field.name)


def test_relabelling_is_a_group_action(name, play, flat):
    """Nothing moves under the identity, and a swap undoes itself."""
    spec, played = play(name)
    if spec.relabel_state is None:
        assert all(len(group) < 2 for group in spec.interchangeable)
        return
    _, states = flat(played)
    identity = np.arange(spec.env.num_agents)
    swap = identity.copy()
    swap[:2] = swap[1::-1]
    changed = 0
    for state in states[::7]:
        np.testing.assert_array_equal(spec.relabel_state(state, identity), state)
        once = spec.relabel_state(state, swap)
        np.testing.assert_array_equal(spec.relabel_state(once, swap), state)
        changed += not np.array_equal(once, state)
    assert changed > 0


def test_picture_is_an_image_that_changes(name, play):
    spec, played = play(name)
    if name in PICTURELESS:
        assert spec.render is None
        return
    pictures = [
        spec.render(jax.tree.map(lambda x, t=t: np.asarray(x[t, 0]), played.env_states))
        for t in (0, 7)
    ]
    assert pictures[0].dtype == np.uint8
    assert pictures[0].shape == pictures[1].shape
    assert pictures[0].ndim == 3
    assert (pictures[0] != pictures[1]).any()


def test_prompt_names_every_index(name, play):
    spec, _ = play(name)
    text = task_prompt(spec)
    assert "There is no task text" not in text
    assert f"D = {spec.env.state_dim}" in text
    for field in spec.layout if len(spec.layout) < 72 else ():
        assert f"| {field.name} |" in text
