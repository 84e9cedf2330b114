"""The TFCAF that a training mixes with: found, and checked against the task and for safety.

Called by the jobs that train.
"""

import dataclasses
import hashlib
from pathlib import Path

from qllm_jax.config import MixerConfig
from qllm_jax.errors import UserError
from qllm_jax.paths import data_dir
from qllm_jax.tasks.spec import TaskSpec
from qllm_jax.tfcaf import Artifact, holds_artifact, load_artifact, save_artifact
from qllm_jax.verify import check_program


def load_tfcaf(mixer: MixerConfig, spec: TaskSpec) -> Artifact:
    """The artifact that a mixer's config names, checked against the task's sizes.

    Raises:
        UserError: There is none, or it was written for other sizes.
    """
    shipped = data_dir("configs") / "artifacts" / spec.name
    path = Path(mixer.artifact) if mixer.artifact is not None else shipped
    if not path.exists():
        raise UserError(
            f"no TFCAF is shipped for {spec.name}. Write one with `qllm-jax generate "
            f"task={spec.name}` and pass its directory as mixer.artifact=…"
            if mixer.artifact is None
            else f"mixer.artifact is {mixer.artifact!r}, which does not exist."
        )
    artifact = load_safe(path)
    env = spec.env
    if (artifact.num_agents, artifact.state_dim) != (env.num_agents, env.state_dim):
        raise UserError(
            f"the TFCAF in {path} mixes {artifact.num_agents} agents in a state of "
            f"{artifact.state_dim} values, but {spec.name} has {env.num_agents} and "
            f"{env.state_dim}. Generate one for these sizes."
        )
    return artifact


def kept_tfcaf(directory: Path, mixer: MixerConfig, spec: TaskSpec) -> Artifact:
    """The artifact that a mixer's config names, as it was when it was first asked for.

    A copy is kept below `directory`, from which a job that is resumed goes on with the function
    that it began with.

    Raises:
        UserError: As `load_tfcaf`.
    """
    named = mixer.artifact or "shipped"
    digest = hashlib.sha256(named.encode()).hexdigest()[:8]
    place = directory / f"{Path(named).name}-{digest}"
    if holds_artifact(place):
        return load_tfcaf(dataclasses.replace(mixer, artifact=str(place)), spec)
    artifact = load_tfcaf(mixer, spec)
    save_artifact(artifact, place)
    return artifact


def load_safe(path: Path) -> Artifact:
    """The artifact in a directory, which may come from elsewhere: its program is checked again.

    Raises:
        UserError: It cannot be read, or fails one of the verifier's static checks.
    """
    return load_artifact(path, check=_refuse_unsafe_program)


def _refuse_unsafe_program(artifact: Artifact) -> None:
    failed = [check for check in check_program(artifact) if not check.passed]
    if failed:
        raise UserError(
            f"the TFCAF of {artifact.task or 'this artifact'} fails the check "
            f"{failed[0].name!r}: {failed[0].detail}"
        )
