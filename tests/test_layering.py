"""Imports point down, as the map draws them; the design half never reaches into the run half."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "qllm_jax"

JOBS = ("train", "compare", "generate", "run", "sweep", "bench", "resume", "report")
JOB_PARTS = {  # what any job may import
    f"jobs/{name}"
    for name in (
        "artifacts", "checks", "directory", "hosts", "interrupt", "outcome", "reporting", "session",
    )
}  # fmt: skip

# Who may import whom, besides itself and the base modules that anyone may import.
ALLOWED = {
    "envs": set(),
    "learning": set(),
    "llm": set(),
    "results": set(),
    "tfcaf": set(),
    "tasks": {"envs"},
    "networks": {"tfcaf", "envs"},
    "verify": {"tfcaf", "tasks"},
    "training": {"envs", "networks", "learning", "tasks"},
    "synthesis": {"llm", "verify", "tfcaf", "tasks", "training", "networks"},
    "bench": {"training", "networks", "tasks", "results", "runtime"},
    "sweep": {"training", "networks", "tasks", "results"},
    "jobs/hosts": set(),
    "jobs/interrupt": set(),
    "jobs/directory": {"jobs/hosts", "results"},
    "jobs/checks": {"tasks", "networks", "training"},
    "jobs/artifacts": {"tfcaf", "verify", "tasks"},
    "jobs/reporting": {"synthesis", "training", "results", "tasks", "tfcaf"},
    "jobs/outcome": {"results", "tasks", "jobs/reporting"},
    "jobs/session": {
        "training", "results", "tasks", "tfcaf", "networks",
        "jobs/artifacts", "jobs/hosts", "jobs/interrupt", "jobs/reporting",
    },
    "jobs/training_run": {"training", "results", "tfcaf", "jobs/reporting", "jobs/session"},
    "jobs/hosts_run": {
        "training", "results", "jobs/hosts", "jobs/session", "jobs/training_run",
    },
    "jobs/train": {"results", "tasks", "jobs/hosts_run", "jobs/training_run", *JOB_PARTS},
    "jobs/compare": {"results", "tasks", "tfcaf", "synthesis", "jobs/train", *JOB_PARTS},
    "jobs/generate": {"llm", "synthesis", "results", "tasks", "tfcaf", *JOB_PARTS},
    "jobs/run": {"results", "jobs/generate", "jobs/compare", *JOB_PARTS},
    "jobs/sweep": {"sweep", "training", "networks", "results", "tasks", *JOB_PARTS},
    "jobs/bench": {"bench", "training", "results", *JOB_PARTS},
    "jobs/resume": {
        "results", "tfcaf", "jobs/train", "jobs/compare", "jobs/generate", "jobs/run", "jobs/sweep",
        "jobs/hosts_run", "jobs/training_run", *JOB_PARTS,
    },
    "jobs/report": {"results", "tasks", "tfcaf", "jobs/reporting"},
    "jobs/__init__": set(),
    "pipeline": {f"jobs/{job}" for job in JOBS} | {"jobs/outcome"},
    "multirun": {"pipeline", "compose", "runtime", "results"},
    "__init__": {"pipeline"},
}  # fmt: skip
BASE = {"types", "config", "errors", "files", "halving", "paths", "schedule", "jaxprs"}


def _imports(path: Path) -> set[str]:
    tree = ast.parse(path.read_text())
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {_part(name) for name in names if name.startswith("qllm_jax.")}


def _part(name: str) -> str:
    """The part that a module or a name in it belongs to; every module of `jobs` is one."""
    _, part, *rest = name.split(".")
    return f"jobs/{rest[0]}" if part == "jobs" and rest else part


def _files(part: str) -> list[Path]:
    """The modules of a part: a package's, or the one of that name."""
    root = PACKAGE / part
    files = list(root.rglob("*.py")) if root.is_dir() else [PACKAGE / f"{part}.py"]
    assert files, f"{part} has no modules"
    return files


def test_every_job_module_has_its_line_in_the_table():
    assert {f"jobs/{path.stem}" for path in (PACKAGE / "jobs").glob("*.py")} <= set(ALLOWED)


@pytest.mark.parametrize("part", sorted(ALLOWED))
def test_part_imports_only_what_lies_below_it(part):
    for path in _files(part):
        extra = _imports(path) - ALLOWED[part] - BASE - {part}
        assert not extra, f"{path.relative_to(PACKAGE)} imports {sorted(extra)}"


def test_base_modules_import_no_part():
    for name in BASE:
        for path in _files(name):
            assert _imports(path) <= BASE, path


def test_no_module_evaluates_text_outside_the_loader_of_emitted_source():
    """`exec`, `eval` and `compile` may only see source that our own emitter wrote."""
    users = set()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Name)
                and node.func.id in {"exec", "eval", "compile", "__import__"}
            ):
                users.add(str(path.relative_to(PACKAGE)))
    assert users <= {"tfcaf/load.py"}, users
