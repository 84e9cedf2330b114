"""A TFCAF on disk: `tfcaf.py`, what runs, and `tfcaf.json`, where it came from.

The JSON holds the hash of the source and is written last, so that the two are read together or not
at all. Nothing is pickled. A loaded source is translated again before it runs: what runs is what
the grammar accepts, whoever wrote the file.
"""

import dataclasses
import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol, get_args

import jax

from qllm_jax.errors import UserError
from qllm_jax.files import replace_text
from qllm_jax.tfcaf.contract import Dialect, Translation, TranslationError
from qllm_jax.tfcaf.load import compile_source
from qllm_jax.tfcaf.translate import translate
from qllm_jax.tfcaf.wrapper import RepairMode, repaired_source, unrepaired_source

SOURCE_NAME, RECORD_NAME = "tfcaf.py", "tfcaf.json"
_FORMAT = 1
_MOST_BYTES = 1 << 22

Scale = Literal["num_agents", "none"]


class Report(Protocol):
    """What is read of a `VerificationReport`, which lies above this module."""

    @property
    def checks(self) -> Sequence[Any]:
        """Dataclasses with name, passed, detail, required, failing_input."""
        ...

    @property
    def igm(self) -> str:
        """What is known about IGM."""
        ...


@dataclasses.dataclass(frozen=True)
class Artifact:
    """A TFCAF with everything that is known about it.

    Attributes:
        source: Standalone jnp source; defines `tfcaf(agent_qs, state)`.
        function: `(agent_qs [N], state [D]) -> q_tot []`, compiled from the validated source.
        original: The code that the model wrote, verbatim.
        dialect: What it was written in.
        num_agents: N.
        state_dim: D.
        task: Task it was written for; "" where for none.
        scale: "num_agents" multiplies its value by N in training, "none" does not.
        igm: What is known about IGM, such as "proved".
        igm_mode: How IGM was treated: "enforce", "report" or "off".
        igm_wrapper: The repair around the original ("clip", "softplus"); None where there is none.
        provenance: Provider, model, round, candidate, hash of the prompt, why it was chosen, ….
        checks: Verification, one mapping per check: name, passed, detail, required, failing_input.
        notes: What a reader should know.
        sha256: Of the source's UTF-8 bytes, hexadecimal.
    """

    source: str
    function: Callable[[jax.Array, jax.Array], jax.Array] = dataclasses.field(
        repr=False, compare=False
    )
    original: str
    dialect: Dialect
    num_agents: int
    state_dim: int
    task: str
    scale: Scale
    igm: str = "not checked"
    igm_mode: str = "report"
    igm_wrapper: RepairMode | None = None
    provenance: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    checks: tuple[Mapping[str, Any], ...] = ()
    notes: tuple[str, ...] = ()
    sha256: str = ""


def make_artifact(
    translation: Translation,
    *,
    task: str = "",
    scale: Scale = "none",
    provenance: Mapping[str, Any] | None = None,
    report: Report | None = None,
    igm_mode: str = "report",
) -> Artifact:
    """Put a translated, possibly repaired function together with what is known about it.

    Args:
        translation: The function.
        task: Task it was written for.
        scale: Whether training multiplies its value by N.
        provenance: Plain values that JSON holds.
        report: Its verification; None where it was not verified.
        igm_mode: How IGM was treated.

    Raises:
        UserError: `scale` is unknown, or `provenance` cannot be written as JSON.
    """
    if scale not in get_args(Scale):
        raise UserError(f"scale is {scale!r}; it is one of {', '.join(get_args(Scale))}.")
    try:
        plain = json.loads(json.dumps(dict(provenance or {})))
    except (TypeError, ValueError) as error:
        raise UserError(f"provenance cannot be written as JSON: {error}.") from None
    repair = unrepaired_source(translation.source)
    checks = [dataclasses.asdict(check) for check in report.checks] if report is not None else []
    return Artifact(
        source=translation.source,
        function=translation.function,
        original=translation.original,
        dialect=translation.dialect,
        num_agents=translation.num_agents,
        state_dim=translation.state_dim,
        task=task,
        scale=scale,
        igm=report.igm if report is not None else "not checked",
        igm_mode=igm_mode,
        igm_wrapper=repair[1] if repair is not None else None,
        provenance=plain,
        checks=tuple(checks),
        notes=translation.notes,
        sha256=_sha256(translation.source),
    )


def holds_artifact(directory: str | os.PathLike) -> bool:
    """Whether an artifact was saved there; it may still be damaged, which `load_artifact` says."""
    return (Path(directory) / RECORD_NAME).exists()


def save_artifact(artifact: Artifact, directory: str | os.PathLike) -> Path:
    """Write `tfcaf.py` and `tfcaf.json`; after an interruption either both are there or neither.

    Args:
        artifact: What to write.
        directory: Made where it does not exist; an artifact in it is replaced.

    Returns:
        The directory.

    Raises:
        UserError: it cannot be written.
    """
    folder = Path(directory)
    record = {
        field.name: getattr(artifact, field.name)
        for field in dataclasses.fields(artifact)
        if field.name not in ("source", "function")
    }
    text = json.dumps({"format": _FORMAT, **record}, indent=2, ensure_ascii=False) + "\n"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / RECORD_NAME).unlink(missing_ok=True)
        replace_text(folder / SOURCE_NAME, artifact.source)
        replace_text(folder / RECORD_NAME, text)
    except OSError as error:
        raise UserError(
            f"the TFCAF could not be written to {folder}: {error}. Choose a directory that can be "
            "written."
        ) from error
    return folder


def load_artifact(
    path: str | os.PathLike, check: Callable[[Artifact], None] | None = None
) -> Artifact:
    """Read an artifact: hash checked, source validated by the grammar before it is compiled.

    Args:
        path: Its directory, or either of its files.
        check: Called with the artifact before it is returned, such as the verifier's second gate;
            what it raises passes through.

    Raises:
        UserError: a file is missing, damaged or changed, or the source is refused.
    """
    given = Path(path)
    folder = given if given.is_dir() else given.parent
    record_path, source_path = folder / RECORD_NAME, folder / SOURCE_NAME
    record = _record(record_path)
    source = _read(source_path)
    if _sha256(source) != record["sha256"]:
        raise UserError(
            f"{source_path} is not what {record_path} was written for: its hash is "
            f"{_sha256(source)[:12]}…, expected {str(record['sha256'])[:12]}…. It was edited or "
            "damaged; restore it, or verify the text again and save it as a new TFCAF."
        )
    artifact = Artifact(source=source, function=_function(source, record, source_path), **record)
    if check is not None:
        check(artifact)
    return artifact


def _function(source: str, record: Mapping[str, Any], path: Path) -> Callable:
    """Compile what the grammar accepts of a source; a repair's wrapper is put on again."""

    try:
        repair = unrepaired_source(source)
        inner = source if repair is None else repair[0]
        sizes = {"num_agents": record["num_agents"], "state_dim": record["state_dim"]}
        translation = translate(inner, **sizes)
    except (TranslationError, SyntaxError, ValueError) as error:
        raise UserError(
            f"{path} is refused: {error} It is not a source that this version wrote; translate "
            "and verify the model's original answer again."
        ) from None
    if repair is None:
        return translation.function
    return compile_source(repaired_source(translation.source, repair[1]))


def _record(path: Path) -> dict[str, Any]:
    """The JSON's fields as `Artifact` takes them."""
    try:
        record = json.loads(_read(path))
    except ValueError as error:
        raise UserError(
            f"{path} is not valid JSON ({error}). Restore it or generate the TFCAF again."
        ) from None
    fields = {f.name for f in dataclasses.fields(Artifact)} - {"source", "function"}
    known = record.get("format") if isinstance(record, dict) else None
    if known != _FORMAT:
        raise UserError(
            f"{path} has format {known!r}; this version reads {_FORMAT}. Generate the TFCAF again."
        )
    del record["format"]
    wrong = sorted(fields ^ set(record)) or _ill_typed(record)
    if wrong:
        raise UserError(
            f"{path} has missing, unknown or malformed fields: {', '.join(wrong)}. Restore it or "
            "generate the TFCAF again."
        )
    return record | {"checks": tuple(record["checks"]), "notes": tuple(record["notes"])}


def _ill_typed(record: Mapping[str, Any]) -> list[str]:
    texts = ("original", "task", "igm", "igm_mode", "sha256")
    wrong = [name for name in texts if not isinstance(record[name], str)]
    for name in ("num_agents", "state_dim"):
        value = record[name]
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            wrong.append(name)
    choices: dict[str, tuple] = {
        "dialect": get_args(Dialect),
        "scale": get_args(Scale),
        "igm_wrapper": (None, *get_args(RepairMode)),
    }
    wrong += [name for name, valid in choices.items() if record[name] not in valid]
    wrong += [name for name in ("checks", "notes") if not isinstance(record[name], list)]
    return wrong + ([] if isinstance(record["provenance"], dict) else ["provenance"])


def _read(path: Path) -> str:
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise UserError(f"{path} is larger than a TFCAF can be ({_MOST_BYTES:,} bytes).")
        return path.read_bytes().decode("utf-8")
    except FileNotFoundError:
        raise UserError(
            f"{path} does not exist. A TFCAF is a directory with {SOURCE_NAME} and {RECORD_NAME}, "
            "as `qllm-jax generate` writes it."
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} could not be read: {error}.") from None


def _sha256(source: str) -> str:
    return hashlib.sha256(source.encode("utf-8")).hexdigest()
