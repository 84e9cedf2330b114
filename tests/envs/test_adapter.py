"""The adapter against JaxMARL's own dictionaries, and against a probe with known answers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import struct
from jaxmarl.environments import spaces
from jaxmarl.environments.multi_agent_env import MultiAgentEnv

from qllm_jax.envs.jaxmarl_adapter import Opponent, make_team_env, memoryless, one_reward
from qllm_jax.errors import UserError
from qllm_jax.tasks import get_task


@struct.dataclass
class CountState:
    """Steps since the reset."""

    count: jax.Array


class Countdown(MultiAgentEnv):
    """Agents of different spaces; ends by itself after `ends_after` steps; 'cpu' is not ours."""

    def __init__(self, ends_after=3, obs_sizes=(2, 4, 1), actions=(2, 3, 2)):
        super().__init__(num_agents=3)
        self.agents = ["left", "right", "cpu"]
        self.ends_after, self.obs_sizes = ends_after, obs_sizes
        self.action_spaces = {
            agent: spaces.Discrete(count) for agent, count in zip(self.agents, actions, strict=True)
        }

    def reset(self, key):
        state = CountState(jnp.zeros((), jnp.int32))
        return self.get_obs(state), state

    def step_env(self, key, state, actions):
        state = CountState(state.count + 1)
        rewards = {a: (i + 1.0) * actions[a] for i, a in enumerate(self.agents)}
        done = state.count >= self.ends_after
        return (
            self.get_obs(state),
            state,
            rewards,
            dict.fromkeys([*self.agents, "__all__"], done),
            {},
        )

    def get_obs(self, state):
        return {
            agent: jnp.full((size,), 10 * i, jnp.int32) + state.count
            for i, (agent, size) in enumerate(zip(self.agents, self.obs_sizes, strict=True))
        }


def cpu_plays_one(key, inner, obs):
    """Always 1, and only when it was shown its own observation (20 + steps)."""
    return {"cpu": (obs["cpu"][0] == 20 + inner.count).astype(jnp.int32)}


def adapted(**overrides):
    settings = {
        "name": "probe",
        "episode_length": 5,
        "agents": ("left", "right"),
        "opponent": memoryless(cpu_plays_one),
    }
    return make_team_env(Countdown(), **{**settings, **overrides})


def play(env, actions):
    """Step through `actions`, one joint action per step; the list of TimeSteps."""
    env_state, step = env.reset(jax.random.key(0))
    steps = [step]
    for joint in actions:
        env_state, step = env.step(jax.random.key(1), env_state, jnp.asarray(joint))
        steps.append(step)
    return steps


def test_different_spaces_are_padded_and_masked():
    env = adapted()
    assert (env.num_agents, env.num_actions, env.obs_shape, env.state_dim) == (2, 3, (4,), 6)
    first, second = play(env, [(1, 2)])
    np.testing.assert_array_equal(first.obs, [[0, 0, 0, 0], [10, 10, 10, 10]])
    np.testing.assert_array_equal(second.obs, [[1, 1, 0, 0], [11, 11, 11, 11]])
    np.testing.assert_array_equal(second.state, [1, 1, 11, 11, 11, 11])  # no padding in the state
    np.testing.assert_array_equal(second.avail_actions, [[1, 1, 0], [1, 1, 1]])
    np.testing.assert_array_equal(env.state_from_obs(second.obs), second.state)
    assert not env.all_actions_available
    assert first.obs.dtype == second.state.dtype == second.reward.dtype == jnp.float32


def test_team_reward_is_the_controlled_agents_sum_or_what_is_given():
    # left pays 1 x action, right 2 x action, cpu 3 x action (always 1)
    assert float(play(adapted(), [(1, 2)])[1].reward) == 1 * 1 + 2 * 2
    assert float(play(adapted(reward_fn=one_reward("right")), [(1, 2)])[1].reward) == 4
    assert float(play(adapted(reward_fn=one_reward("cpu")), [(1, 2)])[1].reward) == 3


def test_an_opponent_with_memory_starts_afresh_and_remembers():
    """It plays how often it has played: 0, 1, 2; cpu is paid 3 x action."""
    counting = Opponent(
        init=lambda: jnp.zeros((), jnp.int32),
        act=lambda key, memory, inner, obs: ({"cpu": memory}, memory + 1),
    )
    env = adapted(opponent=counting, reward_fn=one_reward("cpu"))
    for _ in range(2):
        assert [float(step.reward) for step in play(env, [(0, 0)] * 3)] == [0, 0, 3, 6]


def ends(env, num_steps):
    steps = play(env, [(0, 0)] * num_steps)
    return [(bool(s.terminated), bool(s.truncated)) for s in steps]


def test_endings_are_told_apart():
    go, end, limit = (False, False), (True, False), (False, True)
    assert ends(adapted(), 3) == [go, go, go, end]
    assert ends(adapted(episode_length=2), 2) == [go, go, limit]
    # both in one step: there is nothing after it to bootstrap from
    assert ends(adapted(episode_length=3), 3) == [go, go, go, end]
    never = adapted(terminated_fn=lambda inner, done: jnp.zeros((), bool))
    assert ends(never, 5) == [go, go, go, go, go, limit]


def test_legal_actions_come_from_the_function_given():
    def legal(inner):
        return {"left": jnp.array([0, 1]), "right": jnp.array([1, 0, 1]), "cpu": jnp.array([1, 1])}

    env = adapted(avail_fn=legal)
    np.testing.assert_array_equal(play(env, [])[0].avail_actions, [[0, 1, 0], [1, 0, 1]])
    assert not env.all_actions_available


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"agents": ("left", "rihgt")}, "are \\['left', 'right', 'cpu'\\]"),
        ({"agents": ()}, "Name at least one"),
        ({"opponent": None}, "nobody plays \\['cpu'\\]"),
    ],
)
def test_mistakes_are_explained(overrides, message):
    with pytest.raises(UserError, match=message):
        adapted(**overrides)


def test_continuous_actions_are_refused():
    env = Countdown()
    env.action_spaces["left"] = spaces.Box(0.0, 1.0, (2,))
    with pytest.raises(UserError, match="left has the action space Box"):
        make_team_env(env, name="probe", episode_length=5)


def test_agrees_with_jaxmarls_own_step():
    """Same key, same actions: stacked arrays hold what the dictionaries hold."""
    import jaxmarl

    raw = jaxmarl.make("MPE_simple_spread_v3")
    env = get_task("mpe/simple_spread").env
    key = jax.random.key(3)
    raw_obs, raw_state = raw.reset(key)
    env_state, step = env.reset(key)
    for t in range(5):
        np.testing.assert_array_equal(step.obs, jnp.stack([raw_obs[a] for a in raw.agents]))
        actions = jnp.array([t % 5, (t + 1) % 5, 3])
        key_t = jax.random.fold_in(key, t)
        by_agent = dict(zip(raw.agents, actions, strict=True))
        raw_obs, raw_state, rewards, _, _ = raw.step_env(key_t, raw_state, by_agent)
        env_state, step = env.step(key_t, env_state, actions)
        np.testing.assert_allclose(step.reward, sum(rewards[a] for a in raw.agents), rtol=1e-6)
