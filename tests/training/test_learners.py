"""Every registered learner keeps the contract; a new one is covered by being registered."""

import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from qllm_jax.compose import compose_config
from qllm_jax.config import (
    LEARNERS_WITHOUT_MIXER,
    LEARNERS_WITHOUT_REPLAY,
    LearnerConfig,
    MixerConfig,
)
from qllm_jax.errors import UserError
from qllm_jax.networks import make_mixer, mixer_names
from qllm_jax.training import run_training, runs_for_seeds
from qllm_jax.training.chunk import make_program
from qllm_jax.training.learners import get_learner, learner_names
from qllm_jax.training.on_policy import learn
from qllm_jax.training.state import init_networks, init_state
from qllm_jax.training.step import no_metrics

# What a learner needs to solve the probe in a few seconds, beside the probe's own settings.
SETTINGS = {
    "coma": {
        "batch_size": 2,
        "updates_per_window": 2,
        "lr": 0.01,
        "entropy_coef": 0.02,
        "num_iterations": 320,
    },
    "dqn": {"updates_per_window": 4, "lr": 0.003},
    "ippo": {"batch_size": 2, "updates_per_window": 4, "lr": 0.01},
    "maddpg": {"updates_per_window": 4, "lr": 0.01, "target_update": "soft", "tau": 0.05},
    "mappo": {"batch_size": 2, "updates_per_window": 4, "lr": 0.01},
    "mixed_critic": {"batch_size": 2, "updates_per_window": 4, "lr": 0.01},
    "pqn": {"batch_size": 2, "updates_per_window": 8, "lr": 0.003},
}


@pytest.fixture(scope="module")
def env(probes):
    return probes.team_env(probes.sum_of_actions)


def config_of(name, env, probes, **changes):
    return probes.config_for(env, name=name, **{"num_iterations": 160} | SETTINGS[name] | changes)


@pytest.fixture(scope="module", params=learner_names())
def trained(request, env, probes):
    """A learner's name, its config, and two seeds trained with it to the end."""
    config = config_of(request.param, env, probes)
    output = run_training(probes.as_spec(env), probes.mixer_for(env), config)
    return request.param, config, output


def test_every_learner_has_a_config_of_its_own_name():
    for name in learner_names():
        assert compose_config([f"learner={name}"]).learner.name == name


def test_the_configuration_knows_which_learners_keep_no_replay():
    without = [name for name in learner_names() if not get_learner(name).uses_replay]
    assert sorted(LEARNERS_WITHOUT_REPLAY) == without


def test_the_configuration_knows_which_learners_have_no_mixer():
    without = [name for name in learner_names() if get_learner(name).make_critic is not None]
    assert sorted(LEARNERS_WITHOUT_MIXER) == without


def test_it_learns_the_best_joint_action(trained):
    # 3 steps × 2 agents × action 2: both seeds end at 12, from less.
    _, _, output = trained
    assert np.all(output.metrics["return"][:, 0] < 12)
    np.testing.assert_array_equal(output.metrics["return"][:, -1], [12, 12])
    assert output.num_diverged == 0


def test_a_seed_does_not_depend_on_its_neighbour(trained, env, probes):
    name, config, output = trained
    runs = runs_for_seeds(config).select([1, 1])  # of the same shape, so that nothing is compiled
    again = run_training(probes.as_spec(env), probes.mixer_for(env), config, runs=runs)
    for metric in ("return", "loss", "q_tot"):
        expected = output.metrics[metric][[1, 1]]
        np.testing.assert_allclose(again.metrics[metric], expected, rtol=1e-5, err_msg=name)


def test_what_it_keeps_is_what_it_says(trained):
    name, _, output = trained
    assert (output.replay_bytes_per_run > 0) == get_learner(name).uses_replay


def test_a_stopped_training_goes_on_as_if_it_had_not(trained, env, probes, tmp_path):
    """The whole state survives a checkpoint, with or without a replay and target networks."""
    _, config, output = trained
    spec, vdn, saved = probes.as_spec(env), probes.mixer_for(env), {"checkpoint_dir": tmp_path}
    answers = iter([False, True])  # after the evaluation before training, and after the next
    stopped = run_training(spec, vdn, config, should_stop=lambda: next(answers), **saved)
    assert stopped.interrupted
    resumed = run_training(spec, vdn, config, resume=True, **saved)
    jax.tree.map(np.testing.assert_array_equal, resumed.params, output.params)


def test_a_mixers_own_loss_trains_its_parameters_without_a_target_network(env, probes):
    config = config_of("pqn", env, probes, num_iterations=2, num_seeds=1, num_evaluations=1)
    small = MixerConfig(name="qtran", qtran_hidden_dim=4)
    mixer = make_mixer(small, env.num_agents, env.state_dim, num_actions=env.num_actions)
    output = run_training(probes.as_spec(env), mixer, config)
    assert np.all(np.isfinite(output.metrics["loss"][:, 1:]))
    start = jax.jit(mixer.init)(jax.random.key(0))
    moved = output.run_params(0).mixer["value"]["Dense_2"]["bias"]
    assert np.any(moved != start["value"]["Dense_2"]["bias"])  # biases start at zero


@pytest.mark.parametrize("mixer_name", mixer_names())
@pytest.mark.parametrize("name", learner_names())
def test_every_learner_takes_every_mixer(name, mixer_name, env, probes):
    """An iteration traces, and what a run carries keeps its shapes; nothing is compiled."""
    config = config_of(name, env, probes)
    mixer = make_mixer(
        MixerConfig(name=mixer_name),
        env.num_agents,
        env.state_dim,
        [lambda agent_qs, state: jnp.sum(agent_qs)],
        env.num_actions,
    )
    program = make_program(env, mixer, config)
    hyper = jax.tree.map(lambda leaf: leaf[0], runs_for_seeds(config).hyper)

    def before(key):
        return init_state(program, init_networks(program, key))

    def after(key):
        state = before(key)
        return program.algorithm.iterate(program, hyper, key, jnp.int32(0), state)[0]

    key = jax.random.key(0)
    assert jax.eval_shape(after, key) == jax.eval_shape(before, key)


def test_an_epoch_is_every_window_once():
    """Six windows in minibatches of two, two epochs: every window is seen twice."""
    program = types.SimpleNamespace(
        learner=LearnerConfig(name="pqn", num_envs=6, batch_size=2, updates_per_window=6),
        schedule=types.SimpleNamespace(num_iterations=10, first_update=0),
    )
    hyper = types.SimpleNamespace(lr=jnp.float32(0.5))
    seen = []

    def step(program, hyper, lr, learner, batch):
        ids, lrs = learner
        return (ids + jnp.sum(batch, axis=(0, 1)), lrs + lr), no_metrics()

    def prepare(program, hyper, learner, window):
        return window

    window = jnp.eye(6)[None]  # [T = 1, B = 6, 6]: which environment it is
    for iteration in (0, 9):
        (ids, lrs), _ = learn(
            program,
            hyper,
            jax.random.key(0),
            jnp.int32(iteration),
            (jnp.zeros(6), jnp.zeros(())),
            window,
            prepare,
            step,
        )
        np.testing.assert_array_equal(ids, np.full(6, 2.0))
        seen.append(float(lrs))
    # linear decay over 60 steps: 0.5 (1 - n / 60) summed over n = 0 … 5, and over n = 54 … 59
    assert seen == [pytest.approx(3.0 - 0.5 * 15 / 60), pytest.approx(0.5 * 21 / 60)]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_envs": 8, "batch_size": 3}, "2 or 4 would fit"),
        ({"num_envs": 8, "batch_size": 2, "updates_per_window": 6}, "4 or 8 would fit"),
        ({"num_envs": 8, "batch_size": 2, "updates_per_window": 1}, "; 4 would fit"),
    ],
)
def test_minibatches_that_do_not_divide_say_what_would(settings, message):
    with pytest.raises(UserError, match=message):
        LearnerConfig(name="pqn", **settings)


def test_an_unknown_learner_is_answered_with_the_closest():
    with pytest.raises(UserError, match="Did you mean 'pqn'"):
        get_learner("pqm")
