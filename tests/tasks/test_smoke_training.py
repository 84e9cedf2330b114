"""Every mixer learns on every task: a window of random play, and gradient steps down its loss.

The window is collected once and all mixers are trained on it by one compiled program. Two tasks
are in the ordinary tests, the others nightly: compiling takes 10 to 30 s a task.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from task_params import nightly_but

from qllm_jax.compose import compose_config
from qllm_jax.config import MixerConfig
from qllm_jax.networks import make_mixer, mixer_names
from qllm_jax.tasks import get_task, task_names
from qllm_jax.training import make_program, runs_for_seeds
from qllm_jax.training.dqn import gradient_step
from qllm_jax.training.rollout import collect
from qllm_jax.training.state import init_networks, init_state
from qllm_jax.training.window import complete

ORDINARY = {"matrix/climbing", "overcooked/cramped_room"}
NUM_STEPS = 3


def small_config(name):
    """The task's configuration with tiny networks, few environments and a fast learning rate."""
    config = compose_config([f"task={name}", "agent=mlp"])
    learner = dataclasses.replace(
        config.learner,
        num_envs=2,
        batch_size=2,
        replay_capacity=2,
        updates_per_window=1,
        learning_starts=0,
        optimizer="adam",
        lr=1e-3,
        lr_linear_decay=False,
    )
    agent = dataclasses.replace(config.agent, hidden_dim=4)
    return dataclasses.replace(config, learner=learner, agent=agent)


def small_mixer(name, env):
    """A mixer of the task's sizes; the TFCAF weighs agents by what the state holds."""
    config = MixerConfig(name=name, embedding_dim=4, hypernet_hidden_dim=4, qtran_hidden_dim=4)

    def tfcaf(agent_qs, state):
        return jnp.sum(agent_qs * (1 + jax.nn.sigmoid(state[: len(agent_qs)])))

    return make_mixer(config, env.num_agents, env.state_dim, [tfcaf], env.num_actions)


@pytest.mark.parametrize("name", nightly_but(ORDINARY, task_names()))
def test_every_mixer_goes_down_its_loss(name):
    spec, config = get_task(name), small_config(name)
    programs = {
        mixer: make_program(spec.env, small_mixer(mixer, spec.env), config)
        for mixer in mixer_names()
    }
    learners = {mixer: some_learner(program) for mixer, program in programs.items()}
    hyper = jax.tree.map(lambda leaf: leaf[0], runs_for_seeds(config).hyper)
    vdn = programs["vdn"]

    @jax.jit
    def train(key, learners):
        record = collect(
            key,
            learners["vdn"].params.agent,
            jnp.float32(1.0),
            spec.env,
            vdn.agent,
            config.learner.num_envs,
            vdn.schedule.window_length,
            vdn.algorithm.act,
        )
        window = complete(record, spec.env)
        # One more per step, so that there is something to learn where random play earns nothing.
        window = dataclasses.replace(window, reward=window.reward + 1.0)
        return {
            mixer: steps(program, learners[mixer], window) for mixer, program in programs.items()
        }

    def steps(program, learner, window):
        def step(learner, _):
            return gradient_step(program, hyper, hyper.lr, learner, window)

        return jax.lax.scan(step, learner, length=NUM_STEPS)

    trained = train(jax.random.key(0), learners)
    for mixer, (after, metrics) in trained.items():
        assert bool(after.alive), mixer
        np.testing.assert_array_equal(metrics.num_updates, np.ones(NUM_STEPS), err_msg=mixer)
        assert np.isfinite(metrics.loss).all(), mixer
        assert metrics.loss[-1] < metrics.loss[0], mixer
        for part in ("agent", "mixer"):
            before = jax.tree.leaves(getattr(learners[mixer].params, part))
            moved = jax.tree.leaves(getattr(after.params, part))
            changed = [np.any(a != b) for a, b in zip(before, moved, strict=True)]
            assert any(changed) == bool(before), (mixer, part)


def some_learner(program):
    """A learner with small random parameters: initialisers would take most of the compile time."""
    shapes = jax.eval_shape(
        lambda key: init_state(program, init_networks(program, key)).learner, jax.random.key(0)
    )
    random = np.random.default_rng(0)
    params = jax.tree.map(
        lambda leaf: random.normal(scale=0.1, size=leaf.shape).astype(leaf.dtype), shapes.params
    )
    zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
    alive = jnp.ones((), bool)
    return dataclasses.replace(zeros, params=params, target_params=params, alive=alive)
