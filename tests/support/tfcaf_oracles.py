"""Run the ORIGINAL of a corpus function, which we wrote ourselves, as the oracle for ours.

Only for tests/tfcaf/corpus/honest and generated programs: text from anywhere else is never run.
"""

import ast
import json
import math
import warnings
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

try:
    import torch
except ImportError:  # the golden values stand in for it
    torch = None

CORPUS = Path(__file__).parents[1] / "tfcaf" / "corpus"


def honest_index() -> list[dict[str, Any]]:
    """The entries of the honest corpus: name, dialect, num_agents, state_dim, batched, …"""
    return json.loads((CORPUS / "honest" / "index.json").read_text())


def honest_text(name: str) -> str:
    """The response of that name."""
    return (CORPUS / "honest" / f"{name}.md").read_text()


def entry_name(source: str) -> str:
    """The last function of two required parameters at the top level, or the last class."""
    names = [
        node.name
        for node in ast.parse(source).body
        if isinstance(node, ast.FunctionDef)
        and len(node.args.args) - len(node.args.defaults) <= 2 <= len(node.args.args)
    ]
    classes = [node.name for node in ast.parse(source).body if isinstance(node, ast.ClassDef)]
    return (names or classes)[-1]


def load_original(source: str):
    """Execute a corpus source and return its function, or an object of its class."""
    namespace: dict[str, Any] = {"__name__": "corpus", "math": math}
    namespace |= {"np": np, "jnp": jnp, "jax": jax, "torch": torch}
    if torch is not None:
        namespace["F"] = torch.nn.functional
    exec(compile(source, "<corpus>", "exec"), namespace)
    found = namespace[entry_name(source)]
    return found() if isinstance(found, type) else found


def original_value_and_credit(function, dialect, batched, agent_qs, states):
    """Values [B] and credits [B, N] of an original at `agent_qs` [B, N], `states` [B, D].

    torch runs in float32, numpy in float64 with central differences, jnp as it is. A central
    difference across a kink is NaN, which comparisons skip.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if dialect == "torch":
            return _torch_value_and_credit(function, batched, agent_qs, states)
        if dialect == "numpy":
            return _numpy_value_and_credit(function, batched, agent_qs, states)
        return _jnp_value_and_credit(function, batched, agent_qs, states)


def _torch_value_and_credit(function, batched, agent_qs, states):
    q = torch.tensor(np.asarray(agent_qs, np.float32), requires_grad=True)
    s = torch.tensor(np.asarray(states, np.float32))
    if batched:
        out = function(q, s.clone())
        assert tuple(out.shape) in {(len(q),), (len(q), 1)}, out.shape
        out = out.reshape(len(q))
    else:
        out = torch.stack([function(q[b], s[b].clone()).reshape(()) for b in range(len(q))])
    (credit,) = torch.autograd.grad(out.sum(), q, allow_unused=True)
    credit = torch.zeros_like(q) if credit is None else credit
    return out.detach().numpy(), credit.numpy()


def _numpy_value_and_credit(function, batched, agent_qs, states):
    def value(q):
        s = np.array(states, np.float64)
        if batched:
            out = np.asarray(function(q.copy(), s))
            assert out.shape in {(len(q),), (len(q), 1)}, out.shape
            return out.reshape(len(q))
        return np.array(
            [np.asarray(function(q[b].copy(), s[b])).reshape(()) for b in range(len(q))]
        )

    q = np.array(agent_qs, np.float64)
    credit = np.zeros_like(q)
    with np.errstate(all="ignore"):
        for i in range(q.shape[1]):
            step = np.zeros_like(q)
            step[:, i] = 1e-4
            forward, backward = (
                (value(q + step) - value(q)) / 1e-4,
                (value(q) - value(q - step)) / 1e-4,
            )
            smooth = np.abs(forward - backward) < 1e-2 * (1 + np.abs(forward))
            wide = (value(q + step) - value(q - step)) / 2e-4
            credit[:, i] = np.where(smooth, wide, np.nan)
        return value(q), credit


def _jnp_value_and_credit(function, batched, agent_qs, states):
    q, s = jnp.asarray(agent_qs, jnp.float32), jnp.asarray(states, jnp.float32)

    def total(q):
        out = function(q, s) if batched else jax.vmap(function)(q, s)
        assert out.shape in {(len(q),), (len(q), 1)}, out.shape
        return out.sum(), out.reshape(len(q))

    try:
        (_, out), credit = jax.value_and_grad(total, has_aux=True)(q)
    except (jax.errors.JAXTypeError, jax.errors.JAXIndexError, TypeError):
        if batched:
            raise
        rows = [jax.value_and_grad(function)(q[b], s[b]) for b in range(len(q))]  # eager only
        out, credit = (np.stack(parts) for parts in zip(*rows, strict=True))
    return np.asarray(out), np.asarray(credit)


def edge_states(num_agents: int, state_dim: int) -> np.ndarray:
    """Zeros, −1 everywhere, ones, equal blocks, small integers with ties, large: [6, D]."""
    rng = np.random.default_rng(7)
    block = rng.normal(size=-(-state_dim // num_agents))
    return np.stack(
        [
            np.zeros(state_dim),
            -np.ones(state_dim),
            np.ones(state_dim),
            np.tile(block, num_agents)[:state_dim],
            rng.integers(-1, 3, state_dim),
            rng.normal(size=state_dim) * 30,
        ]
    ).astype(np.float32)


def random_inputs(num_agents: int, state_dim: int, batch: int, seed: int = 0):
    """Inputs whose rows look like several tasks: `agent_qs` [B, N], `states` [B, D]."""
    rng = np.random.default_rng(seed + 1000 * batch)
    states = rng.normal(size=(batch, state_dim))
    states[1::3] = rng.integers(-1, 6, states[1::3].shape)
    states[2::3] = np.abs(states[2::3]) * (rng.random(states[2::3].shape) < 0.6)
    return rng.normal(size=(batch, num_agents)).astype(np.float32), states.astype(np.float32)


def assert_close(actual, expected, rtol=1e-5, what="value", size=None):
    """Relative to `size`, by default each row's largest magnitude; NaN agrees with NaN only."""
    actual, expected = np.asarray(actual, np.float64), np.asarray(expected, np.float64)
    assert actual.shape == expected.shape, f"{what}: shape {actual.shape}, not {expected.shape}"
    finite = np.where(np.isfinite(expected), np.abs(expected), 0.0)
    if size is None:
        size = finite.max(axis=-1, keepdims=True) if expected.ndim > 1 else finite
    wrong = np.abs(actual - expected) > rtol * np.maximum(np.nan_to_num(size), 1e-2)
    wrong |= np.isnan(actual) != np.isnan(expected)
    wrong &= ~((actual == expected) & ~np.isfinite(expected))
    where = np.argwhere(wrong)
    assert not len(where), (
        f"{what} differs at {where[:3].tolist()}: "
        f"{actual[wrong][:3]} instead of {expected[wrong][:3]}"
    )


def terms(agent_qs, credit, value):
    """Size of the terms that a value adds up, which bounds its rounding: [B]."""
    sizes = np.sum(np.abs(np.nan_to_num(credit) * agent_qs), axis=-1)
    return np.maximum(sizes, np.abs(np.nan_to_num(value, posinf=0.0, neginf=0.0)))


BATCHES = (1, 2, 7, 64, 6)


def corpus_inputs(num_agents: int, state_dim: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows for the batches 1, 2, 7, 64 and the six edge states: [80, N], [80, D]."""
    parts = [random_inputs(num_agents, state_dim, batch) for batch in BATCHES]
    agent_qs, states = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    states[-6:] = edge_states(num_agents, state_dim)
    return agent_qs, states


def golden_rows(total: int) -> np.ndarray:
    """The rows that the golden file keeps: a few random ones and the edge states."""
    return np.r_[0:6, total - 6 : total]


def assert_close_where_smooth(actual, expected, dialect):
    """Credits; a NumPy original has none at a kink (NaN there)."""
    actual = np.asarray(actual)
    if dialect == "numpy":
        actual = np.where(np.isnan(expected), np.nan, actual)
    assert_close(actual, expected, what="credit")


def size_of(expression: str, modules: dict[str, Any]) -> int:
    """How many numbers an expression of `tfcaf_expressions` gives."""
    m = modules.get("jnp", np)
    q = m.asarray([0.3, -0.2, 0.5])
    x = m.asarray(np.random.default_rng(1).normal(size=(3, 4)))
    names = {"q": q, "x": x, "v": x[1], "b": x > 0, "i": m.abs(x * 2).astype(int) % 3}
    return int(np.size(eval(expression, {**modules, **names})))


def hostile_entries() -> dict[str, dict[str, Any]]:
    """Sources that translation must refuse: name -> source, rules, group."""
    found: dict[str, dict[str, Any]] = {}
    for group in ("escapes", "resources", "contract"):
        for name, rules, source in _archive(CORPUS / "hostile" / f"{group}.txt"):
            for key, text in _expansions().items():
                source = source.replace(f"@{key}@", text) if f"@{key}@" in source else source
            found[name] = {"source": source, "rules": rules.split(), "group": group}
    return found


def wrong_entries() -> dict[str, dict[str, str]]:
    """Sources that translate and that a named check of the verifier must fail."""
    rows = _archive(CORPUS / "hostile" / "wrong.txt")
    return {name: {"source": source, "check": check} for name, check, source in rows}


def _archive(path: Path) -> list[tuple[str, str, str]]:
    """`=== name | expectation` headers with the source below each."""
    rows = []
    for part in path.read_text().split("=== ")[1:]:
        head, source = part.split("\n", 1)
        name, _, expected = head.partition("|")
        rows.append((name.strip(), expected.strip(), source))
    return rows


def _expansions() -> dict[str, str]:
    """What stands for the long stretches of the resource attacks."""
    return {
        "DEEP_PLUS": "+ 1 " * 3000,
        "DEEP_PARENS": "(" * 300 + "q.sum(-1)" + ")" * 300,
        "DEEP_ATTR": ".T" * 3000,
        "DEEP_MINUS": "-" * 3000,
        "DEEP_LAMBDA": "lambda: " * 90,
        "DEEP_TERNARY": "1 if 0 else " * 900,
        "DEEP_IF": "".join("    " + " " * k + "if q is not None:\n" for k in range(90))
        + " " * 95
        + "pass",
        "HUGE_LITERAL": "9" * 4000,
        "HUGE_LIST": "1, " * 15_000,
        "MANY_FUNCTIONS": "".join(f"def g{i}(x):\n    return x\n" for i in range(4000)),
        "MANY_STATEMENTS": "    t = t + 1\n" * 4000,
        "LONG_COMPARE": " < 2" * 9000,
    }


def write_goldens() -> None:
    """Compute the values of every original that needs torch, for machines without it."""
    from qllm_jax.tfcaf.response import read_response

    arrays = {}
    for entry in honest_index():
        if entry["dialect"] != "torch":
            continue
        agent_qs, states = corpus_inputs(entry["num_agents"], entry["state_dim"])
        rows = golden_rows(len(states))
        function = load_original(read_response(honest_text(entry["name"]))[0].source)
        value, credit = original_value_and_credit(
            function, "torch", entry["batched"], agent_qs[rows], states[rows]
        )
        arrays[f"{entry['name']}.value"] = value.astype(np.float32)
        arrays[f"{entry['name']}.credit"] = credit.astype(np.float32)
    path = CORPUS.parent / "golden" / "corpus.npz"
    path.parent.mkdir(exist_ok=True)
    np.savez_compressed(path, **arrays)
    print(f"{len(arrays) // 2} functions, {path.stat().st_size / 1024:.0f} KiB: {path.name}")


if __name__ == "__main__":
    write_goldens()
