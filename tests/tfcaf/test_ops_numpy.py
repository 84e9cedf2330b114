"""Every NumPy operation equals NumPy, in float64."""

import numpy as np
import pytest
import scipy
import tfcaf_expressions as table
import tfcaf_oracles as oracles

from qllm_jax.tfcaf import TranslationError, translate

EXPRESSIONS = [table.spelled(e, "np") for e in table.expressions(table.COMMON)]
EXPRESSIONS += table.expressions(table.NUMPY_ONLY)
RNG = np.random.default_rng(0)
STATES = [RNG.normal(size=12), RNG.integers(-2, 3, 12) * 0.5, np.zeros(12) + 0.25]
AGENT_QS = [RNG.normal(size=3), np.array([0.5, -1.0, 0.5]), np.array([0.0, 0.0, 1.0])]


@pytest.mark.parametrize("expression", sorted(set(EXPRESSIONS)))
def test_operation_equals_numpy(expression):
    imports = "import numpy as np\nimport scipy"
    with np.errstate(all="ignore"):
        size = oracles.size_of(expression, {"np": np, "scipy": scipy})
        source = table.source(expression, size, imports)
        original = oracles.load_original(source)
        function = translate(source, num_agents=3, state_dim=12).function
        for q, s in zip(AGENT_QS, STATES, strict=True):
            expected = np.asarray(original(q, s))
            actual = np.asarray(function(np.float32(q), np.float32(s)))
            oracles.assert_close(actual[None], expected[None], rtol=3e-5)


@pytest.mark.parametrize(
    ("called", "nearest"),
    [
        ("np.softmaxx(q)", "scipy.special.softmax"),
        ("np.linalg.nrm(q)", "np.linalg.norm"),
        ("np.maxx(q)", "np.max"),
    ],
)
def test_an_unknown_operation_is_refused_with_the_nearest(called, nearest):
    source = table.source(called, 1, "import numpy as np")
    with pytest.raises(TranslationError) as refused:
        translate(source, num_agents=3, state_dim=12)
    assert refused.value.rule == "unknown-operation"
    assert nearest in refused.value.fix or "Write it with" in refused.value.fix


VIEWS = {
    "slice": "u = w[:, 1:]\n    u += 1.0",
    "column": "u = w[:, 0]\n    u *= 3.0",
    "reshape": "u = w.reshape(-1)\n    u += 1.0",
    "ravel": "u = w.ravel()\n    u[2] = 9.0",
    "flatten-copies": "u = w.flatten()\n    u[2] = 9.0",
    "transpose": "u = w.T\n    u[0] = 5.0",
    "copy": "u = w.copy()\n    u += 1.0",
    "same": "u = w\n    u += 1.0",
    "rebind": "u = w\n    u = u + 1.0",
    "fancy-copies": "u = w[[0, 2]]\n    u += 1.0",
    "mask": "w[w > 0] = 0.5",
    "mask-scaled": "w[w > 0] *= 2.0",
    "mask-from": "w[w > 0] = w[w > 0] * 2.0 + 1.0",
    "expand": "u = w[:, None]\n    u[:, 0] += 1.0",
    "expand-dims": "u = np.expand_dims(w, 0)\n    u[0, 1] = 7.0",
    "swapaxes": "u = np.swapaxes(w, 0, 1)\n    u[1] *= 2.0",
    "split": "a, u = np.split(w, 2, axis=1)\n    u += 1.0",
    "view-of-view": "u = w[1:][:, 2:]\n    u[0, 0] = 4.0",
    "loop": "for row in range(3):\n        u = w[row]\n        u[row] = 2.0",
    "duplicates": "w[[0, 0, 1]] += 1.0",
    "squeeze": "u = w[None].squeeze(0)\n    u += 1.0",
    "ravel-of-transpose-copies": "u = w.T.ravel()\n    u[2] = 9.0",
    "reshape-of-slice-copies": "u = w[:, :2].reshape(-1)\n    u += 1.0",
    "reshape-of-slice-shares": "u = w[1:].reshape(-1)\n    u += 1.0",
    "ravel-of-column-copies": "u = w[:, 0].ravel()\n    u += 1.0",
    "reshape-of-column-shares": "u = w[:, 0].reshape(3, 1)\n    u += 1.0",
    "float32-copies": "u = np.float32(w)\n    u += 1.0",
    "rows": "for row in w:\n        row /= 1.0 + np.abs(row).sum()",
    "numbered-rows": "for k, row in enumerate(w):\n        row[k] = 5.0",
    "rows-zipped": "for row, k in zip(w, [1, 4, 2]):\n        row += k",
    "diagonal-follows": "u = np.diagonal(w)\n    w += 1.0\n    w = w * u.sum()",
    "add-at": "np.add.at(w, ([0, 0, 2], [1, 1, 3]), 5.0)",
    "maximum-at": "np.maximum.at(w, [0, 2], w[1])",
    "put-along-axis": "i = np.argsort(w, axis=1)\n    np.put_along_axis(w, i[:, :1], 9.0, 1)",
    "flip": "u = np.flip(w, axis=1)\n    u[:, 0] = 3.0",
}


@pytest.mark.parametrize("name", sorted(VIEWS))
def test_in_place_updates_follow_numpys_views(name):
    source = f"""import numpy as np

def f(agent_qs, state):
    w = state.reshape(3, 4) * (1.0 + agent_qs[:, None])
    {VIEWS[name]}
    return np.sum(w * np.arange(12).reshape(3, 4))
"""
    function = translate(source, num_agents=3, state_dim=12).function
    expected = oracles.load_original(source)(AGENT_QS[0].copy(), STATES[0].copy())
    oracles.assert_close(np.asarray(function(AGENT_QS[0], STATES[0]))[None], np.array([expected]))
