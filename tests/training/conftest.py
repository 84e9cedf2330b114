"""Tiny tasks with known values, and a config that fits them."""

import dataclasses

import jax
import jax.numpy as jnp
import pytest

from qllm_jax.config import (
    AgentConfig,
    Config,
    LearnerConfig,
    MixerConfig,
    RunnerConfig,
)
from qllm_jax.envs.team import TeamEnv
from qllm_jax.networks import make_mixer
from qllm_jax.tasks.spec import TaskSpec
from qllm_jax.training import chunk, fleet, run_training, runner
from qllm_jax.types import TimeStep


def team_env(
    reward_fn, *, num_agents=2, num_actions=3, length=3, ends="truncated", see=None, **fields
):
    """An environment that shows a random sign and the time, and pays `reward_fn(sign, t, actions)`.

    Every agent sees `[sign, t / length]`, or what `see(sign, t) -> [2]` makes of it; the global
    state is the same. The sign is drawn again in every step. `ends` is "terminated", "truncated"
    or "early": terminated with probability 1/3 in every step, and truncated at `length`.
    """

    def timestep(sign, t, reward, terminated, truncated):
        seen = jnp.stack([sign, t / length] if see is None else see(sign, t)).astype(jnp.float32)
        return TimeStep(
            obs=jnp.tile(seen, (num_agents, 1)),
            state=seen,
            avail_actions=jnp.ones((num_agents, num_actions), bool),
            reward=jnp.asarray(reward, jnp.float32),
            terminated=jnp.asarray(terminated),
            truncated=jnp.asarray(truncated),
        )

    def draw(key):
        return jax.random.rademacher(key, (), jnp.float32)

    def reset(key):
        sign, t = draw(key), jnp.zeros((), jnp.int32)
        return (sign, t), timestep(sign, t, 0.0, False, False)

    def step(key, env_state, actions):
        sign, t = env_state
        reward = reward_fn(sign, t, actions)
        t = t + 1
        sign_key, end_key = jax.random.split(key)
        early = (ends == "early") & (jax.random.uniform(end_key) < 1 / 3)
        terminated = early | ((ends == "terminated") & (t == length))
        truncated = (t == length) & ~terminated
        sign = draw(sign_key)
        return (sign, t), timestep(sign, t, reward, terminated, truncated)

    return TeamEnv(
        name="probe",
        num_agents=num_agents,
        num_actions=num_actions,
        obs_shape=(2,),
        state_dim=2,
        episode_length=length,
        reset=reset,
        step=step,
        state_from_obs=fields.pop("state_from_obs", lambda obs: obs[0]),
        all_actions_available=fields.pop("all_actions_available", True),
        fixed_length=ends != "early",
        **fields,
    )


def as_spec(env):
    """A spec of an environment whose layout nobody reads."""
    return TaskSpec(name=env.name, env=env, layout=(), agent_names=(), action_names=())


def config_for(env, *, num_iterations=40, num_seeds=2, num_evaluations=2, runner=None, **learner):
    """A small config whose budget is `num_iterations` windows of one episode per environment."""
    settings = {
        "num_envs": 4,
        "replay_capacity": 32,
        "batch_size": 8,
        "learning_starts": 0,
        "lr": 0.01,
        "lr_linear_decay": False,
        "optimizer": "adam",
        "target_update_interval": 4,
        "epsilon_finish": 1.0,
    } | learner
    window = settings.get("window_length") or env.episode_length + 1
    return Config(
        agent=AgentConfig(hidden_dim=8),
        mixer=MixerConfig(name="vdn", embedding_dim=4, hypernet_hidden_dim=8),
        learner=LearnerConfig(**settings),
        runner=RunnerConfig(
            num_seeds=num_seeds,
            num_env_steps=num_iterations * settings["num_envs"] * (window - 1),
            num_evaluations=num_evaluations,
            num_eval_episodes=4,
            **(runner or {}),
        ),
    )


def mixer_for(env, name="vdn", tfcafs=(), **settings):
    """A mixer of `env`'s sizes."""
    config = MixerConfig(name=name, embedding_dim=4, hypernet_hidden_dim=8, **settings)
    return make_mixer(config, env.num_agents, env.state_dim, tfcafs)


def with_learner(config, **changes):
    """`config` with other learner settings."""
    return dataclasses.replace(config, learner=dataclasses.replace(config.learner, **changes))


def sum_of_actions(sign, t, actions):
    """A reward that every mixer can represent."""
    return jnp.sum(actions).astype(jnp.float32)


@pytest.fixture(scope="session")
def probes():
    """The functions above, for tests that cannot import a conftest."""
    return ProbeKit()


class ProbeKit:
    """Names of this module as attributes."""

    team_env = staticmethod(team_env)
    as_spec = staticmethod(as_spec)
    config_for = staticmethod(config_for)
    mixer_for = staticmethod(mixer_for)
    with_learner = staticmethod(with_learner)
    sum_of_actions = staticmethod(sum_of_actions)


@pytest.fixture(scope="session")
def env(probes):
    return probes.team_env(probes.sum_of_actions)


@pytest.fixture(scope="session")
def spec(env, probes):
    return probes.as_spec(env)


@pytest.fixture(scope="session")
def config(env, probes):
    return probes.config_for(env, num_seeds=3, num_evaluations=2, epsilon_finish=0.1)


@pytest.fixture(scope="session")
def vdn(env, probes):
    return probes.mixer_for(env, "vdn")


@pytest.fixture(scope="session")
def reference(spec, vdn, config):
    """Three seeds on two devices: one of four places is padding."""
    reports = []
    output = run_training(spec, vdn, config, on_chunk=reports.append)
    return output, reports


@pytest.fixture(scope="module")
def shared_programs():
    """Within a module, equal settings of one environment and mixer are compiled once.

    Most tests train the same small program again, stopped, continued or with other runs; tracing
    it anew each time would be most of what they cost.
    """
    programs, calls, initialisers, kept = {}, {}, {}, []

    def make_program(env, mixer, config, outcome=None):
        budget = dataclasses.replace(
            config.runner, num_seeds=1, first_seed=0, num_devices=None, memory_gib=None
        )
        key = (id(env), id(mixer), config.agent, config.learner, budget, id(outcome))
        if key not in programs:
            kept.append((env, mixer, outcome))  # so that no id is given away again
            programs[key] = chunk.make_program(env, mixer, config, outcome)
        return programs[key]

    def place_key(program, placement):
        return id(program), len(placement.runs), tuple(placement.devices)

    def compile_chunk(program, placement, precision):
        key = (*place_key(program, placement), precision)
        if key not in calls:
            kept.append(program)
            calls[key] = chunk.compile_chunk(program, placement, precision)
        return calls[key].for_runs(placement)

    def make_initialiser(program, placement):
        key = place_key(program, placement)
        if key not in initialisers:
            kept.append(program)
            initialisers[key] = chunk.make_initialiser(program, placement)
        return initialisers[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runner, "make_program", make_program)
        patch.setattr(fleet, "compile_chunk", compile_chunk)
        patch.setattr(fleet, "make_initialiser", make_initialiser)
        yield
