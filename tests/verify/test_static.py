"""The second gate: what is counted, and that an unknown primitive is refused."""

import jax
import jax.numpy as jnp
import pytest
from jax.extend.core import Primitive

from qllm_jax.verify.static import ALLOWED, cost, equations, primitives_check, size_check
from qllm_jax.verify.worker import describe, trace


def _cost(fn, *shapes):
    return cost(jax.make_jaxpr(fn)(*(jnp.zeros(shape) for shape in shapes)).jaxpr)


def test_a_plain_sum_costs_its_elements():
    found = _cost(jnp.sum, (5,))
    assert (found.equations, found.largest, found.flops) == (1, 5, 5.0)


def test_a_matrix_product_costs_two_per_multiplication():
    found = _cost(lambda a, b: a @ b, (3, 4), (4, 5))
    assert found.flops == 2 * 3 * 4 * 5
    assert found.largest == 20


def test_a_transcendental_counts_ten_and_a_move_nothing():
    assert _cost(lambda x: jnp.exp(x).reshape(2, 3), (6,)).flops == 60.0


def test_a_loop_counts_once_in_size_and_by_its_length_in_arithmetic():
    """The body: x + 1 and the counter's i + 1, each one operation."""
    found = _cost(lambda x: jax.lax.fori_loop(0, 50, lambda i, x: x + 1.0, x), ())
    assert found.trips == 50
    assert found.flops == 50 * 2
    assert found.equations < 10


def test_nested_programs_are_walked():
    inner = jax.jit(lambda x: jax.lax.cond(x > 0, jnp.sin, jnp.cos, x))
    closed = jax.make_jaxpr(jax.vmap(lambda x: jax.jit(inner)(x)))(jnp.zeros(2))
    names = {eqn.primitive.name for eqn in equations(closed.jaxpr)}
    assert {"sin", "cos", "gt"} <= names


def test_an_unknown_primitive_is_refused_by_name():
    unknown = Primitive("brand_new")
    unknown.def_abstract_eval(lambda x: x)
    closed = jax.make_jaxpr(jax.jit(lambda x: unknown.bind(x)))(1.0)
    check = primitives_check(closed)
    assert not check.passed
    assert "`brand_new`" in check.detail
    assert "brand_new" not in ALLOWED


@pytest.mark.parametrize(
    ("fn", "said"),
    [
        (lambda x: jax.random.normal(jax.random.key(0)) + x, "random"),
        (lambda x: jax.lax.while_loop(lambda x: x < 1, lambda x: x + 1, x), "loops until"),
        (lambda x: jnp.linalg.svd(jnp.ones((2, 2)) * x)[1].sum(), "factorisation"),
        (lambda x: jax.lax.psum(x, "i"), "rows of the batch"),
        (lambda x: jax.pure_callback(lambda x: x, x, x), "out of the program"),
    ],
)
def test_refusals_say_why(fn, said):
    shape = jax.ShapeDtypeStruct((), jnp.float32)
    closed = jax.make_jaxpr(fn, axis_env=[("i", 2)])(shape)
    check = primitives_check(closed)
    assert not check.passed
    assert said in check.detail


def test_a_trillion_elements_are_seen_without_allocating_them():
    source = (
        "import jax\nimport jax.numpy as jnp\n\nBIG = jnp.ones((10**6, 10**6))\n\n\n"
        "def tfcaf(agent_qs, state):\n    return jnp.sum(agent_qs) + jnp.sum(BIG * state[0])\n"
    )
    value, both = trace(source, 3, 4)
    check = size_check(value, both, 3, 4)
    assert not check.passed
    assert "1,000,000,000,000" in check.detail


def test_the_same_program_has_the_same_digest():
    source = (
        "import jax\nimport jax.numpy as jnp\n\n\ndef tfcaf(agent_qs, state):\n"
        "    return jnp.sum(jax.nn.relu(agent_qs)) * {}\n"
    )
    first, again, other = (trace(source.format(x), 3, 4)[0] for x in ("1.5", "1.5", "2.5"))
    assert describe(first) == describe(again) != describe(other)
