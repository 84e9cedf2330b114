"""Two arguments that the jobs pass along: `Training`, what is to be trained, and `Session`.

A `Training` is a config with the task and the TFCAF that it names, loaded. A `Session` is what goes
with the process: the display, the flag that Ctrl-C sets, and the other hosts. Made by every job
that trains into run directories; `bench` and `sweep` take the mixer of a `Training` only.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from qllm_jax.config import ALL_THAT_FIT, Config, config_to_mapping
from qllm_jax.errors import require
from qllm_jax.jobs.artifacts import load_tfcaf
from qllm_jax.jobs.hosts import ALONE, Hosts
from qllm_jax.jobs.interrupt import StopRequest
from qllm_jax.jobs.reporting import command_line
from qllm_jax.networks import Mixer, make_mixer
from qllm_jax.results import Console, RunStore
from qllm_jax.tasks.spec import TaskSpec
from qllm_jax.tfcaf import Artifact, save_artifact
from qllm_jax.training import make_program, mixer_scale, most_runs, runs_for_seeds


@dataclasses.dataclass(frozen=True)
class Session:
    """What goes with the process that runs a job, whatever is trained in it.

    Attributes:
        console: Shows progress.
        should_stop: Polled between chunks.
        hosts: This process among those of the job.
    """

    console: Console
    should_stop: StopRequest
    hosts: Hosts = ALONE


@dataclasses.dataclass(frozen=True)
class Training:
    """One mixer, trained over the seeds and the budget of its config.

    Attributes:
        config: Names the mixer, the seeds and the budget.
        spec: The task.
        artifact: The function of a TFCAF mixer; None for the others.
    """

    config: Config
    spec: TaskSpec
    artifact: Artifact | None

    @classmethod
    def named_by(cls, config: Config, spec: TaskSpec) -> "Training":
        """With the artifact that the mixer names, or the one shipped for the task.

        Raises:
            UserError: A TFCAF mixer has none, or one of other sizes.
        """
        return cls(config, spec, load_tfcaf(config.mixer, spec) if config.uses_tfcaf else None)

    def mixer(self) -> tuple[Mixer, float]:
        """The mixer, with the artifact's function, and the factor on its value."""
        env, named = self.spec.env, self.config.mixer
        functions = [self.artifact.function] if self.artifact is not None else []
        if named.name.startswith("tfcaf") and not self.config.uses_tfcaf:
            named = dataclasses.replace(named, name="iql")  # the learner brings a critic instead
        mixer = make_mixer(
            named, env.num_agents, env.state_dim, tfcafs=functions, num_actions=env.num_actions
        )
        stored = self.artifact.scale if self.artifact is not None else "none"
        return mixer, mixer_scale(named.scale, env.num_agents, stored)

    def make_store(self, parent: Path, name: str | None) -> RunStore:
        """A new run directory, with the artifact in it; `name` None takes a time stamp."""
        first, count = self.config.runner.first_seed, self.config.runner.num_seeds
        info = {"task": self.spec.name, "mixer": self.config.label, "command": command_line()}
        seeds = list(range(first, first + count))
        store = RunStore.create(
            parent, name, config_to_mapping(self.config), seeds=seeds, info=info
        )
        if self.artifact is not None:
            save_artifact(self.artifact, store.path)
        return store

    def with_seeds(self, count: int) -> "Training":
        """The same with another number of seeds."""
        runner = dataclasses.replace(self.config.runner, num_seeds=count)
        return dataclasses.replace(self, config=dataclasses.replace(self.config, runner=runner))


def with_fitting_seeds(trainings: Sequence[Training], hosts: Hosts = ALONE) -> list[Training]:
    """The trainings with as many seeds as fit at once in every one of them.

    They are as they were where `runner.num_seeds` is a number.

    Raises:
        UserError: It is none, and several hosts would each count for themselves.
    """
    if all(one.config.runner.num_seeds != ALL_THAT_FIT for one in trainings):
        return list(trainings)
    require(
        hosts.count == 1,
        f"runner.num_seeds is max, which is for one host; give {hosts.count} hosts a number.",
    )
    counts = []
    for one in (training.with_seeds(1) for training in trainings):
        mixer, scale = one.mixer()
        program = make_program(one.spec.env, mixer, one.config, one.spec.outcome)
        counts.append(most_runs(program, runs_for_seeds(one.config, scale), one.config.runner))
    return [training.with_seeds(min(counts)) for training in trainings]
