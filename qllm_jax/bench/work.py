"""How much arithmetic a program is made of, counted on its trace; nothing is run."""

from typing import Any

import jax
import jax.numpy as jnp

from qllm_jax.jaxprs import nested, product_flops
from qllm_jax.training.chunk import state_struct
from qllm_jax.training.evaluation import evaluate
from qllm_jax.training.runs import Hyper
from qllm_jax.training.state import Program


def matmul_flops(jaxpr: Any) -> float:
    """Operations of all matrix products: loops times their length, the costlier of two branches.

    A loop of unknown length counts once.
    """
    total = 0.0
    for eqn in jaxpr.eqns:
        name = eqn.primitive.name
        if name == "dot_general":
            total += product_flops(eqn)
            continue
        inner = [matmul_flops(part) for part in nested(eqn)]
        if name == "scan":
            total += eqn.params["length"] * sum(inner)
        elif name == "cond":
            total += max(inner, default=0.0)
        else:
            total += sum(inner)
    return total


def flops_per_iteration(program: Program, hyper: Hyper) -> float:
    """Matrix products of one iteration of one run, its gradient steps included.

    Args:
        program: What is static.
        hyper: Traced settings of one run, every leaf `[]`.
    """

    def one(key: jax.Array, iteration: jax.Array, state: Any) -> Any:
        return program.algorithm.iterate(program, hyper, key, iteration, state)

    traced = jax.make_jaxpr(one)(jax.random.key(0), jnp.int32(0), state_struct(program))
    return matmul_flops(traced.jaxpr)


def flops_per_evaluation(program: Program, hyper: Hyper) -> float:
    """Matrix products of one greedy evaluation of one run."""

    def one(key: jax.Array, params: Any) -> Any:
        return evaluate(program, params, hyper.mixer, key)

    params = state_struct(program).learner.params
    return matmul_flops(jax.make_jaxpr(one)(jax.random.key(0), params).jaxpr)
