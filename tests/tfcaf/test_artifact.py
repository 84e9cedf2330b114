"""A TFCAF on disk: what is written is what is read, or it is refused with the file and the fix."""

import hashlib
import json
import os

import numpy as np
import pytest

from qllm_jax.errors import UserError
from qllm_jax.tfcaf import load_artifact, make_artifact, save_artifact
from qllm_jax.tfcaf.artifact import RECORD_NAME, SOURCE_NAME
from qllm_jax.tfcaf.translate import translate
from qllm_jax.verify import check_program, repair_igm
from qllm_jax.verify.report import Check, VerificationReport

_ANSWER = """Nähe zählt:
```python
import jax
import jax.numpy as jnp


def tfcaf(agent_qs, state):
    # closer agents count more ✓
    weights = state[:3] - 0.5
    return jnp.sum(weights * agent_qs) + state[3]
```
"""
_REPORT = VerificationReport(
    (Check("size", True, "3 operations."), Check("igm", False, "negative.", False, {"state": [1]})),
    "violated",
    0.5,
)


@pytest.fixture(scope="module")
def translation():
    return translate(_ANSWER, num_agents=3, state_dim=9)


@pytest.fixture
def artifact(translation):
    return make_artifact(
        translation,
        task="mpe/simple_spread",
        scale="num_agents",
        provenance={"provider": "recorded", "round": 2, "reason": "best return"},
        report=_REPORT,
        igm_mode="report",
    )


@pytest.fixture
def saved(artifact, tmp_path):
    return save_artifact(artifact, tmp_path / "new" / "artifact")


def _forge(folder, source=None, **fields):
    """Change the source and make the record agree with it."""
    record = json.loads((folder / RECORD_NAME).read_text())
    if source is not None:
        (folder / SOURCE_NAME).write_text(source)
        record["sha256"] = hashlib.sha256(source.encode()).hexdigest()
    (folder / RECORD_NAME).write_text(json.dumps(record | fields))


def test_what_is_saved_is_loaded(artifact, saved):
    assert sorted(os.listdir(saved)) == [RECORD_NAME, SOURCE_NAME]
    assert (saved / SOURCE_NAME).read_text() == artifact.source
    for path in (saved, saved / SOURCE_NAME, str(saved / RECORD_NAME)):
        loaded = load_artifact(path)
        assert loaded == artifact
        qs, state = np.arange(3, dtype=np.float32), np.arange(9, dtype=np.float32)
        # weights -0.5, 0.5, 1.5 on values 0, 1, 2, and 3: 0.5 + 3 + 3
        np.testing.assert_allclose(loaded.function(qs, state), 6.5)
    assert loaded.checks[1]["failing_input"] == {"state": [1]}
    assert loaded.provenance["round"] == 2
    assert (loaded.igm, loaded.scale, loaded.igm_wrapper) == ("violated", "num_agents", None)
    assert "Nähe" not in loaded.original
    assert "✓" in loaded.original


def test_saving_replaces_and_is_deterministic(artifact, saved):
    before = (saved / RECORD_NAME).read_bytes()
    save_artifact(artifact, saved)
    assert (saved / RECORD_NAME).read_bytes() == before
    assert sorted(os.listdir(saved)) == [RECORD_NAME, SOURCE_NAME]


@pytest.mark.parametrize("mode", ["clip", "softplus"])
def test_a_repaired_function_keeps_its_wrapper(mode, translation, tmp_path):
    repaired = repair_igm(translation, mode)
    artifact = make_artifact(repaired, task="toy", provenance={})
    assert artifact.igm_wrapper == mode
    loaded = load_artifact(save_artifact(artifact, tmp_path))
    assert loaded == artifact
    rng = np.random.default_rng(0)
    qs, state = (rng.normal(size=n).astype(np.float32) for n in (3, 9))
    np.testing.assert_allclose(
        loaded.function(qs, state), repaired.function(qs, state), rtol=1e-6, atol=1e-6
    )
    hostile = loaded.source.replace("weights = state[:3] - 0.5", "weights = open('/etc/passwd')")
    _forge(tmp_path, hostile)
    with pytest.raises(UserError, match="refused"):
        load_artifact(tmp_path)


def test_a_changed_source_is_noticed(saved):
    path = saved / SOURCE_NAME
    path.write_text(path.read_text().replace("0.5", "0.6"))
    with pytest.raises(UserError, match="its hash is") as error:
        load_artifact(saved)
    assert str(path) in str(error.value)
    assert "verify" in str(error.value)


@pytest.mark.parametrize(
    "line",
    [
        "import os",
        "open('/etc/passwd')",
        "jax.debug.print('x')",
        "agent_qs.__class__",
        "exec('1')",
    ],
)
def test_a_forged_source_is_refused_before_it_runs(line, saved, artifact):
    lines = artifact.source.splitlines()
    lines.insert(-1, f"    {line}")
    _forge(saved, "\n".join(lines) + "\n")
    with pytest.raises(UserError, match="is refused") as error:
        load_artifact(saved)
    assert SOURCE_NAME in str(error.value)


@pytest.mark.parametrize("name", [RECORD_NAME, SOURCE_NAME])
def test_a_missing_file_is_named(name, saved):
    (saved / name).unlink()
    with pytest.raises(UserError, match=f"{name} does not exist"):
        load_artifact(saved)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"format": 99}, "format 99"),
        ({"num_agents": 0}, "num_agents"),
        ({"state_dim": "9"}, "state_dim"),
        ({"num_agents": True}, "num_agents"),
        ({"dialect": "fortran"}, "dialect"),
        ({"scale": "double"}, "scale"),
        ({"igm_wrapper": "magic"}, "igm_wrapper"),
        ({"checks": {}}, "checks"),
        ({"provenance": []}, "provenance"),
        ({"task": None}, "task"),
        ({"surprise": 1}, "surprise"),
    ],
)
def test_a_damaged_record_is_explained(fields, said, saved):
    _forge(saved, **fields)
    with pytest.raises(UserError, match=said) as error:
        load_artifact(saved)
    assert RECORD_NAME in str(error.value)


@pytest.mark.parametrize("text", ["", "{", "[]", "3"])
def test_a_record_that_is_no_json_object_is_explained(text, saved):
    (saved / RECORD_NAME).write_text(text)
    with pytest.raises(UserError, match=RECORD_NAME):
        load_artifact(saved)


def test_sizes_of_the_record_must_fit_the_source(saved):
    _forge(saved, state_dim=2)
    with pytest.raises(UserError, match="refused"):
        load_artifact(saved)


@pytest.mark.parametrize("interrupted_at", [1, 2])
def test_an_interrupted_save_leaves_nothing_to_load(interrupted_at, artifact, saved, monkeypatch):
    """Over an older artifact, at either rename: both or neither."""
    calls, replace = [], os.replace

    def failing(source, target):
        calls.append(target)
        if len(calls) == interrupted_at:
            raise OSError("power cut")
        replace(source, target)

    monkeypatch.setattr(os, "replace", failing)
    with pytest.raises(UserError, match="power cut"):
        save_artifact(artifact, saved)
    with pytest.raises(UserError, match=f"{RECORD_NAME} does not exist"):
        load_artifact(saved)
    assert os.listdir(saved) == [SOURCE_NAME]


def test_a_hook_may_refuse(saved):
    seen = []
    load_artifact(saved, check=lambda artifact: seen.extend(check_program(artifact)))
    assert all(check.passed for check in seen)

    def refuse(artifact):
        raise UserError("not today")

    with pytest.raises(UserError, match="not today"):
        load_artifact(saved, check=refuse)


def test_misuse_is_explained(artifact, translation, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="could not be written"):
        save_artifact(artifact, tmp_path / "file")
    with pytest.raises(UserError, match="scale"):
        make_artifact(translation, scale="twice")
    with pytest.raises(UserError, match="provenance"):
        make_artifact(translation, provenance={"model": object()})
