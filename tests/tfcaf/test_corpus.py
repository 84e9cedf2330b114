"""Whole functions as language models write them: honest ones equal their original, others are
refused by the rule that is meant for them, and nothing of them is ever run."""

import ast
import io
import sys
import time
import tokenize
from pathlib import Path

import jax
import numpy as np
import pytest
import tfcaf_oracles as oracles

from qllm_jax.tfcaf import TranslationError, translate
from qllm_jax.tfcaf.response import read_response

HONEST = {entry["name"]: entry for entry in oracles.honest_index()}
GOLDEN = Path(__file__).parent / "golden" / "corpus.npz"
HOSTILE = oracles.hostile_entries()
IN_BRANCHES_NOT_TAKEN = {"pad the state so that it splits evenly"}


@pytest.fixture(scope="module")
def translations():
    """Translation of an honest function by name, made once."""
    made = {}

    def get(name):
        if name not in made:
            entry = HONEST[name]
            text = oracles.honest_text(name)
            made[name] = translate(text, entry["num_agents"], entry["state_dim"])
        return made[name]

    return get


def value_and_credit(function):
    return jax.jit(jax.vmap(jax.value_and_grad(function)))


@pytest.mark.parametrize("name", sorted(HONEST))
def test_honest_functions_equal_their_original(name, translations):
    entry, translation = HONEST[name], translations(name)
    assert translation.dialect == entry["dialect"]
    assert translation.batched == entry["batched"]
    agent_qs, states = oracles.corpus_inputs(entry["num_agents"], entry["state_dim"])
    value, credit = value_and_credit(translation.function)(agent_qs, states)
    if oracles.torch is None and entry["dialect"] == "torch":
        golden = np.load(GOLDEN)
        rows = oracles.golden_rows(len(states))
        size = oracles.terms(agent_qs[rows], golden[f"{name}.credit"], golden[f"{name}.value"])
        oracles.assert_close(value[rows], golden[f"{name}.value"], size=size)
        oracles.assert_close(credit[rows], golden[f"{name}.credit"], what="credit")
        return
    original = oracles.load_original(read_response(oracles.honest_text(name))[0].source)
    start = 0
    for batch in oracles.BATCHES:
        rows = slice(start, start + batch)
        start += batch
        expected, slopes = oracles.original_value_and_credit(
            original, entry["dialect"], entry["batched"], agent_qs[rows], states[rows]
        )
        size = oracles.terms(agent_qs[rows], slopes, expected)
        oracles.assert_close(value[rows], expected, size=size)
        oracles.assert_close_where_smooth(credit[rows], slopes, entry["dialect"])


@pytest.mark.parametrize("name", sorted(HONEST)[::4])
def test_honest_functions_agree_eagerly_jitted_and_vmapped(name, translations):
    entry, function = HONEST[name], translations(name).function
    agent_qs, states = oracles.random_inputs(entry["num_agents"], entry["state_dim"], 2, seed=5)
    mapped = jax.vmap(function)(agent_qs, states)
    jitted = jax.jit(function)(agent_qs[1], states[1])
    eager = function(agent_qs[1], states[1])
    assert (jitted.shape, jitted.dtype) == ((), np.float32)
    oracles.assert_close(np.stack([eager, mapped[1]]), np.stack([jitted, jitted]), rtol=3e-6)


@pytest.mark.parametrize("name", sorted(HONEST))
def test_emitted_source_is_deterministic_and_stable(name, translations):
    entry, first = HONEST[name], translations(name)
    size = (entry["num_agents"], entry["state_dim"])
    assert translate(oracles.honest_text(name), *size).source == first.source
    second = translate(first.source, *size)
    assert second.source == first.source
    assert not second.batched


@pytest.mark.parametrize("name", sorted(HONEST))
def test_emitted_source_keeps_comments_and_imports_only_jax(name, translations):
    translation = translations(name)
    imported = [
        item.name
        for node in ast.walk(ast.parse(translation.source))
        if isinstance(node, ast.Import)
        for item in node.names
    ]
    assert set(imported) <= {"jax", "jax.numpy"}
    assert not any(isinstance(n, ast.ImportFrom) for n in ast.walk(ast.parse(translation.source)))
    kept = " ".join(_comments(translation.source).split())
    inside = _comments(_body_of_entry(translation.original))
    lost = {line for line in inside.split("\n") if " ".join(line.split()) not in kept}
    assert lost <= IN_BRANCHES_NOT_TAKEN


def _comments(source: str) -> str:
    """The text of all comments, one per line."""
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return "\n".join(t.string.lstrip("# ").rstrip() for t in tokens if t.type == tokenize.COMMENT)


def _body_of_entry(source: str) -> str:
    """The entry function's text from its first to its last statement."""
    name = oracles.entry_name(source)
    node = [n for n in ast.parse(source).body if getattr(n, "name", "") == name][-1]
    return "\n".join(source.split("\n")[node.lineno - 1 : node.end_lineno]) + "\n"


@pytest.fixture
def canary(tmp_path, monkeypatch):
    """A file that appears if hostile text runs, also by importing `qllm_canary`."""
    path = tmp_path / "canary"
    (tmp_path / "qllm_canary.py").write_text(f"open({str(path)!r}, 'w')\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield path
    assert not path.exists()
    assert "qllm_canary" not in sys.modules


@pytest.mark.parametrize("name", sorted(HOSTILE))
def test_hostile_text_is_refused_by_its_rule(name, canary):
    entry = HOSTILE[name]
    text = entry["source"].replace("CANARY", str(canary))
    started = time.process_time()
    with pytest.raises(TranslationError) as refused:
        translate(text, num_agents=3, state_dim=54)
    assert refused.value.rule in entry["rules"]
    assert refused.value.message
    assert refused.value.fix
    assert time.process_time() - started < 3.0


def test_the_corpus_is_as_large_as_it_has_to_be():
    dialects = [entry["dialect"] for entry in HONEST.values()]
    assert dialects.count("torch") >= 45
    assert dialects.count("numpy") >= 20
    assert dialects.count("jnp") >= 25
    assert len(HOSTILE) >= 130
