"""Every torch operation equals torch in value and gradient, at ties and zeros too."""

import importlib.util

import jax
import numpy as np
import pytest
import tfcaf_torch_table as table

from qllm_jax.tfcaf import TranslationError, translate

GOLDEN = table.golden()
GROUP = 24


@pytest.fixture(scope="module")
def answers():
    """Value and credit of an expression for all rows; compiled for many expressions at once."""
    names = sorted(GOLDEN)
    found = {}

    def compute(start):
        group = {}
        for name in names[start : start + GROUP]:
            try:
                text = table.source(name, GOLDEN[name]["size"])
                group[name] = translate(text, table.NUM_AGENTS, table.STATE_DIM).function
            except TranslationError as refused:
                found[name] = refused

        @jax.jit
        @jax.vmap
        def run(q, s):
            return {name: jax.value_and_grad(f)(q, s) for name, f in group.items()}

        found.update(run(table.AGENT_QS, table.STATES))

    def get(name):
        if name not in found:
            compute(names.index(name) // GROUP * GROUP)
        return found[name]

    return get


@pytest.mark.parametrize("expression", table.expressions())
def test_value_and_gradient_equal_torch(expression, answers):
    answer, expected = answers(expression), GOLDEN[expression]
    if isinstance(answer, TranslationError):
        raise answer
    for actual, key in zip(answer, ("value", "credit"), strict=True):
        wanted = np.float32(expected[key])
        scale = 1e-5 * max(1.0, float(np.nanmax(np.abs(np.where(np.isfinite(wanted), wanted, 0)))))
        np.testing.assert_allclose(actual, wanted, rtol=3e-5, atol=scale, err_msg=key)


@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="torch is not installed")
def test_the_golden_file_is_what_torch_says():
    for expression in table.expressions()[::3]:
        fresh, kept = table.by_torch(expression), GOLDEN[expression]
        assert fresh["size"] == kept["size"]
        np.testing.assert_allclose(fresh["value"], kept["value"], rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(fresh["credit"], kept["credit"], rtol=1e-5, atol=1e-5)


REFUSED = {
    "x.mean()": "mixes-batch",
    "i.mean(1)": "dtype",
    "b - b": "dtype",
    "-b": "dtype",
    "x.sum(0)": "mixes-batch",
    "x.scatter_reduce(2, i, y, 'prod')": "argument",
    "x.scatter_reduce(2, i, y, 'set')": "argument",
    "x.scatter(2, i, y, reduce='mul')": "argument",
    "torch.softmax(x, dim=0)": "mixes-batch",
    "x.max(0)[0]": "mixes-batch",
    "x.sort(dim=0)[0]": "mixes-batch",
    "x.cumsum(0)": "mixes-batch",
    "x.flip(0)": "mixes-batch",
    "x.roll(1, 0)": "mixes-batch",
    "q @ q.T": "mixes-batch",
    "torch.cdist(v, v)": "mixes-batch",
    "x[0]": "mixes-batch",
    "x[:2]": "mixes-batch",
    "torch.cat([x, x], 0)": "mixes-batch",
    "x.permute(1, 2, 0).reshape(3, -1)": "mixes-batch",
    "x.unbind(0)[0]": "mixes-batch",
    "torch.einsum('bi,bj->ij', q, v)": "mixes-batch",
    "x / x.shape[0]": "mixes-batch",
    "x.item()": "mixes-batch",
    "x.sum(3)": "axis",
    "x.view(4, 5, -1)": "shape",
    "x.expand(-1, 5, -1)": "shape",
    "x + q": "shape",
    "x[:, 3]": "index-range",
    "x[:, torch.tensor([3])]": "index-range",
    "x.gather(1, q)": "dtype",
    "torch.nonzero(x)": "dynamic-shape",
    "torch.unique(x)": "dynamic-shape",
    "torch.where(b)[0]": "dynamic-shape",
    "F.one_hot(i)": "dynamic-shape",
    "torch.rand(3)": "random",
    "F.dropout(x)": "random",
    "torch.nn.Linear(3, 3)(q)": "learnable",
    "torch.load('x')": "io",
    "torch.svdd(x)": "unknown-operation",
    "x.summ(-1)": "unknown-operation",
    "x.sum(dims=1)": "argument",
    "torch.maximum(x, 0.0)": "type",
    "x.transpose(0, 1, 2)": "argument",
    "x.numpy()": "unknown-operation",
    "torch.median(x)": "mixes-batch",
    "x.topk(9)[0]": "argument",
    "i // 0": "static-error",
    "x.sum(int(q[0, 0]))": "mixes-batch",
    "torch.mm(x, x)": "shape",
    "torch.kthvalue(x, 0)[0]": "argument",
}


@pytest.mark.parametrize("expression", sorted(REFUSED))
def test_wrong_use_is_refused_by_its_rule(expression):
    with pytest.raises(TranslationError) as refused:
        translate(table.source(expression, 1), table.NUM_AGENTS, table.STATE_DIM)
    assert refused.value.rule == REFUSED[expression]
    assert refused.value.line
    assert refused.value.fix


def test_an_unknown_operation_names_the_nearest():
    with pytest.raises(TranslationError, match="softmax"):
        translate(table.source("torch.softmaks(x, dim=1)", 1), 3, 12)
