"""`itertools`, `functools`, `operator`, and Python numbers taken out of arrays."""

import jax
import numpy as np
import pytest

from qllm_jax.tfcaf import TranslationError, translate

AGENT_QS = np.float32([1.0, 2.0, 6.0])
STATE = np.float32([0.5, -1.0, 2.0])

# body of mix(q, s) with q = [1, 2, 6], s = [0.5, -1, 2] -> q_tot
BODIES = {
    # 1·2 + 1·6 + 2·6
    "return sum(q[i] * q[j] for i, j in itertools.combinations(range(3), 2))": 20.0,
    # ordered pairs count twice
    "return sum(q[i] * q[j] for i, j in itertools.permutations(range(3), 2))": 40.0,
    # (1 + 2 + 6)²
    "return sum(q[i] * q[j] for i, j in itertools.product(range(3), repeat=2))": 81.0,
    # 1² + 2² + 6² + the 20 above
    "r = itertools.combinations_with_replacement(range(3), 2)\n"
    "    return sum(q[i] * q[j] for i, j in r)": 61.0,
    # (2 − 1) + (6 − 2)
    "return sum(b - a for a, b in itertools.pairwise(q))": 5.0,
    "return sum(itertools.chain([q[0]], (q[1], q[2])))": 9.0,
    "return sum(itertools.chain.from_iterable([[q[0]], [q[2]]]))": 7.0,
    "return sum(itertools.islice([q[0], q[1], q[2]], 1, None))": 8.0,
    "return sum(itertools.repeat(q[1], 3))": 6.0,
    # 1, 1 + 2, 1 + 2 + 6
    "return sum(itertools.accumulate(q))": 13.0,
    # 1, 1·2, 1·2·6
    "return sum(itertools.accumulate(q, operator.mul))": 15.0,
    "return sum(itertools.starmap(operator.sub, [(q[2], q[0]), (q[2], q[1])]))": 9.0,
    "return functools.reduce(lambda a, b: a * b, q, 2.0)": 24.0,
    # 6 − 1·0.5
    "f = functools.partial(lambda a, b, k: a - k * b, k=s[0])\n    return f(q[2], q[0])": 5.5,
    "return sum(map(lambda a, b: a * b, q, s)) + 0.0": 10.5,  # 0.5 − 2 + 12
    "return sum(q[i] for i in filter(lambda i: i != 1, range(3)))": 7.0,
    # the order 2, 0, 1: 6 + 2·1 + 4·2
    "return sum(q[i] * 2 ** k for k, i in enumerate(sorted(range(3), key=lambda i: (i + 1) % 3)))":
        16.0,
    "a, b = divmod(7, 4)\n    return q[a] * b": 6.0,
    # by rest of 2: 0.5·(1 + 6) + 2·2
    "d = collections.defaultdict(list)\n    for i in range(3):\n        d[i % 2].append(i)\n"
    "    w = {0: 0.5, 1: 2.0}\n    return sum(w[k] * q[i] for k, v in d.items() for i in v)": 7.5,
    "d = collections.defaultdict(float)\n    for i in (0, 2, 2):\n        d[i] += q[i]\n"
    "    return d[0] + d[2] * d[0]": 13.0,  # 1 + 12·1
    "d = collections.OrderedDict([('b', q[1]), ('a', q[2])])\n    d['c'] = q[0]\n"
    "    return sum(v * (k + 1) for k, v in enumerate(d.values()))": 17.0,  # 2 + 6·2 + 1·3
    "return operator.neg(q[0]) + operator.itemgetter(2)(q)": 5.0,
}  # fmt: skip
HEADER = """import collections
import functools
import itertools
import operator

import jax.numpy as jnp


"""


@pytest.mark.parametrize("body", BODIES)
def test_lists_are_combined_as_python_does(body):
    text = f"{HEADER}def mix(q, s):\n    {body}\n"
    translation = translate(text, 3, 3)
    assert "itertools" not in translation.source
    np.testing.assert_allclose(translation.function(AGENT_QS, STATE), BODIES[body], rtol=1e-6)
    assert translate(translation.source, 3, 3).source == translation.source


@pytest.mark.parametrize(
    ("call", "rule", "words"),
    [
        ("itertools.groupby(q)", "unknown-operation", "combinations, permutations"),
        ("itertools.count()", "unknown-operation", "islice"),
        ("functools.lru_cache(q)", "unknown-operation", "reduce, partial"),
        ("list(itertools.product(range(99), repeat=3))", "too-big", "grows too long"),
        ("list(itertools.permutations(range(60)))", "too-big", "grows too long"),
        ("list(itertools.repeat(q, 10 ** 9))", "too-big", "grows too long"),
        ("functools.reduce(operator.add, [])", "static-error", "start"),
        ("list(filter(lambda x: x > 0, q))", "dynamic-shape", "where"),
        ("sorted(q, key=lambda x: -x)", "static-argument", "sort"),
    ],
)
def test_what_it_cannot_do_is_refused(call, rule, words):
    with pytest.raises(TranslationError) as refused:
        translate(f"{HEADER}def mix(q, s):\n    return {call}\n", 3, 3)
    assert refused.value.rule == rule
    assert words in str(refused.value)


def test_samples_of_a_batch_are_not_combined():
    text = """
import itertools
import torch

def mix(q, s):
    batch, agents = q.shape
    mixed = sum((a * b).sum() for a, b in itertools.combinations(q, 2))
    return (q * s).sum(dim=1, keepdim=True) + mixed
"""
    with pytest.raises(TranslationError, match="samples of the batch"):
        translate(text, 3, 3)


@pytest.mark.parametrize(("library", "credit"), [("torch", 0.0), ("numpy", 2.0)])
def test_float_cuts_the_gradient_only_where_there_is_one(library, credit):
    """NumPy's numbers have no gradient to lose: the credit of what they compute is meant."""
    text = f"import {library}\n\ndef mix(q, s):\n    return 2 * float(q[0]) + q[1] + q[2]\n"
    found = jax.grad(translate(text, 3, 3).function)(AGENT_QS, STATE)
    np.testing.assert_allclose(found, [credit, 1.0, 1.0])


def test_out_with_where_keeps_what_out_held_and_gives_no_nan():
    text = """
import numpy as np

def mix(q, s):
    share = np.full_like(s, 0.5)
    np.divide(q, s, out=share, where=s > 0)
    return share.sum()
"""
    function = jax.value_and_grad(translate(text, 3, 3).function)
    value, credit = function(AGENT_QS, np.float32([0.5, 0.0, 2.0]))
    assert value == 5.5  # 1/0.5 + 0.5 + 6/2
    np.testing.assert_allclose(credit, [2.0, 0.0, 0.5])


def test_where_without_out_is_refused():
    text = "import numpy as np\n\ndef mix(q, s):\n    return np.log(q, where=q > 0).sum()\n"
    with pytest.raises(TranslationError, match="zeros_like"):
        translate(text, 3, 3)


def test_a_function_may_make_functions_that_keep_their_own_numbers():
    text = """
import jax.numpy as jnp

def make(width, x):
    half = width / 2
    def kernel(y):
        return (x - y) * half
    return kernel

def mix(q, s):
    narrow, wide = make(2.0, q[0]), make(8.0, q[2])
    return narrow(s[0]) + wide(s[1])
"""
    translation = translate(text, 3, 3)
    assert translation.function(AGENT_QS, STATE) == 28.5  # (1 − 0.5)·1 + (6 + 1)·4
    assert translate(translation.source, 3, 3).source == translation.source


def test_a_dict_may_hold_slices_arrays_and_functions():
    text = """
import jax.numpy as jnp

def mix(q, s):
    scale = s[2]
    parts = dict(first=slice(0, 2), weight=scale * 3, square=lambda x: x ** 2)
    scale = s[0]
    return parts["square"](q[parts["first"]]).sum() * parts["weight"] + scale
"""
    assert translate(text, 3, 3).function(AGENT_QS, STATE) == 30.5  # (1 + 4)·6 + 0.5
