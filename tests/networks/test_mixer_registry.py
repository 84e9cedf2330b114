"""Every registered mixer keeps the contract; a new one is covered by being registered."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from qllm_jax.compose import compose_config
from qllm_jax.config import MixerConfig
from qllm_jax.learning import joint_action, take_actions
from qllm_jax.networks import MixerHyper, make_mixer, mixer_names

N, A, D = 3, 4, 5
NUM_SETS = 5
HYPER = MixerHyper(scale=jnp.float32(1.0), candidate=jnp.int32(0))
WIDTHS = {
    "embedding_dim": 4,
    "hypernet_hidden_dim": 8,
    "qatten_key_dim": 4,
    "qatten_hidden_dim": 8,
    "qplex_hidden_dim": 8,
    "qtran_hidden_dim": 8,
    "rqn_hidden_dim": 8,
    "residual_hidden_dim": 4,
}

# By hand, for N = 3, A = 4, D = 5 and the widths above; F → G with bias: (F + 1) G
NUM_PARAMS = {
    "iql": 0,
    "vdn": 0,
    "tfcaf": 0,
    # (5+1)(8+8+4+4) into four hypernetworks, 9·12 to W_1, 9·4 to w_2, 5·1 to b_2
    "qmix": 144 + 108 + 36 + 5,
    # keys 3·4·4; query 6·8 + 9·16; head weights 6·8 + 9·4; constant 6·4 + 5·1
    "qatten": 48 + 48 + 144 + 48 + 36 + 24 + 5,
    # w and b: 2 (6·8 + 9·3); with 10 heads υ: 6·8 + 9·8 + 9·10, φ: 6·8 + 9·8 + 9·30,
    # λ on state and 12 choices: 18·8 + 9·8 + 9·30
    "qplex": 150 + 210 + 390 + 486,
    # Q_jt on 17 inputs: 18·8 + 9·8 + 9·1; V on the state: 6·8 + 9·8 + 9·1
    "qtran": 225 + 129,
    # 7·8 on means and maxima, 9·3
    "rqn": 56 + 27,
    # 6·4 + 5·(3+1)
    "tfcaf_residual": 24 + 20,
}


def weighted(agent_qs, state):
    """A TFCAF: softmax weights of the state's first N values."""
    return jnp.sum(jax.nn.softmax(state[:N]) * agent_qs)


@functools.cache
def build(name):
    """A small mixer; one per name, so that what is compiled for it is compiled once."""
    return make_mixer(MixerConfig(name=name, **WIDTHS), N, D, [weighted], num_actions=A)


@functools.cache
def some_params(name):
    """Five sets of parameters as in the middle of training, far from their initial symmetry."""

    def one(key):
        init_key, key = jax.random.split(key)
        leaves, structure = jax.tree.flatten(build(name).init(init_key))
        keys = jax.random.split(key, len(leaves) + 1)
        moved = [
            leaf + jax.random.normal(k, leaf.shape)
            for leaf, k in zip(leaves, keys[1:], strict=True)
        ]
        return jax.tree.unflatten(structure, moved)

    # One by one: orthogonal initialisation must not be vmapped on the CPU.
    trees = [jax.jit(one)(jax.random.key(seed)) for seed in range(NUM_SETS)]
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)


def over_sets(function, mixer, *arrays):
    """`function(params, *row)` for every set of parameters and row of `arrays`, compiled."""
    if not jax.tree.leaves(some_params(mixer.name)):
        return jax.jit(jax.vmap(lambda *row: function({}, *row)))(*arrays)
    return jax.jit(jax.vmap(function))(some_params(mixer.name), *arrays)


def normal(seed, *shape):
    return jax.random.normal(jax.random.key(seed), (NUM_SETS, *shape))


def regressed_at(mixer, params, q_table, state, actions):
    joint = joint_action(q_table, jnp.ones((N, A), bool), actions)
    return mixer.regressed(params, take_actions(q_table, actions), state, HYPER, joint)


@pytest.fixture(params=mixer_names())
def mixer(request):
    return build(request.param)


def test_every_mixer_has_a_config_of_its_own_name(mixer):
    assert compose_config([f"mixer={mixer.name}"]).mixer.name == mixer.name


@pytest.mark.parametrize("name", sorted(NUM_PARAMS))
def test_parameters_are_as_many_as_the_equations_say(name):
    params = jax.eval_shape(build(name).init, jax.random.key(0))
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == NUM_PARAMS[name]


def test_values_are_finite_and_a_batch_is_its_rows(mixer, strict_ranks):
    agent_qs, state = normal(1, N), normal(2, D)

    def apply(params, agent_qs, state):
        return mixer.apply(params, agent_qs, state, HYPER)

    values = over_sets(apply, mixer, agent_qs, state)
    assert values.shape == (NUM_SETS, N if mixer.name == "iql" else 1)
    assert values.dtype == jnp.float32
    assert np.all(np.isfinite(values))
    params = jax.tree.map(lambda leaf: leaf[2], some_params(mixer.name))
    alone = jax.jit(apply)(params, agent_qs[2], state[2])
    np.testing.assert_allclose(alone, values[2], rtol=2e-5, atol=2e-5)


def test_gradients_reach_every_agent_and_every_parameter(mixer):
    actions = jnp.array([1, 0, 2])

    def total(params, q_table, state):
        value = jnp.sum(regressed_at(mixer, params, q_table, state, actions))
        agent_qs = take_actions(q_table, actions)
        if mixer.extra_loss is not None:
            joint = joint_action(q_table, jnp.ones((N, A), bool), actions)
            value += mixer.extra_loss(params, agent_qs, state, HYPER, joint)
        if mixer.transform is not None:
            value += jnp.sum(mixer.transform(params, agent_qs[None], jnp.ones(1, bool)))
        return value

    gradient = jax.grad(total, argnums=(0, 1))
    by_param, by_q = over_sets(gradient, mixer, normal(4, N, A), normal(5, D))
    assert np.all(np.any(np.asarray(by_q) != 0, axis=(0, 2))), "an agent learns nothing"
    for path, leaf in jax.tree_util.tree_leaves_with_path(by_param):
        assert np.all(np.isfinite(leaf)), path
        assert np.any(leaf != 0), path


def test_monotone_mixers_give_no_negative_credit(mixer):
    if mixer.igm is None:
        return
    jacobian = jax.jacobian(lambda params, qs, s: mixer.apply(params, qs, s, HYPER), argnums=1)
    assert np.all(np.asarray(over_sets(jacobian, mixer, normal(6, N), normal(7, D))) >= 0)


def test_igm_on_every_joint_action(mixer):
    """Where IGM is claimed, the best joint action is each agent's best, whatever was learned."""
    if mixer.igm is None:
        return
    choices = jnp.array(list(itertools.product(range(A), repeat=N)), jnp.int32)

    def game(params, q_table, state):
        value = functools.partial(regressed_at, mixer, params, q_table, state)
        return jnp.sum(jax.vmap(value)(choices), axis=1)

    q_table = normal(8, N, A)
    payoffs = np.asarray(over_sets(game, mixer, 3.0 * q_table, normal(9, D)))
    for table, payoff in zip(np.asarray(q_table), payoffs, strict=True):
        own_best = np.all(choices == np.argmax(table, axis=1), axis=1)
        assert payoff[own_best][0] >= np.max(payoff) - 1e-5 * np.ptp(payoff)


def test_apply_is_the_regressed_value_of_greedy_actions(mixer):
    if mixer.name == "qtran":
        return  # there the extra loss asks for it

    def both(params, q_table, state):
        greedy = jnp.argmax(q_table, axis=1)
        at_greedy = regressed_at(mixer, params, q_table, state, greedy)
        return at_greedy, mixer.apply(params, jnp.max(q_table, axis=1), state, HYPER)

    regressed, applied = over_sets(both, mixer, normal(10, N, A), normal(11, D))
    np.testing.assert_allclose(regressed, applied, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ["qplex", "qtran"])
def test_a_mixer_that_reads_actions_says_that_it_must_know_their_number(name):
    mixer = make_mixer(MixerConfig(name=name), N, D)
    with pytest.raises(ValueError, match="pass num_actions to make_mixer"):
        mixer.init(jax.random.key(0))
