"""`python -m qllm_jax.multirun`: a training per job, with Hydra's sweepers and launchers.

For sweeps over many machines or processes; on one machine `qllm-jax sweep` trains all settings in
one program, which is faster. Comma-separated values are swept, and a launcher says where jobs run:

    python -m qllm_jax.multirun -m hydra/launcher=joblib hydra.launcher.n_jobs=2 \\
        task=matrix/climbing mixer=vdn,qmix learner.lr=1e-4,1e-3

Launchers are packages of their own: hydra-joblib-launcher (processes here; the extra
`launchers`), hydra-submitit-launcher (SLURM: hydra/launcher=submitit_slurm), hydra-ray-launcher.
Each job leaves a run directory below runner.output_dir; `qllm-jax report` compares them. The value
of a job, for sweepers that optimise, is its final score: the IQM over seeds.
"""

import logging
import sys
from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> None:
    """Run one job, or with `-m` one per combination of the comma-separated values."""
    import hydra
    from hydra.errors import CompactHydraException
    from omegaconf import DictConfig, OmegaConf

    from qllm_jax.compose import forced_override
    from qllm_jax.errors import UserError
    from qllm_jax.paths import data_dir

    directory = data_dir("configs").resolve()

    @hydra.main(config_path=str(directory), config_name="config", version_base="1.3")
    def job(composed: DictConfig) -> float:
        try:
            return final_score_of(OmegaConf.to_container(composed, resolve=True))
        except UserError as error:
            raise CompactHydraException(str(error)) from None  # shown without a traceback

    given = sys.argv[1:] if argv is None else argv
    sys.argv = [sys.argv[0], *(forced_override(item, directory) for item in given)]
    job()


def final_score_of(values: object) -> float:
    """Train what a composed config says; returns the IQM of the seeds' final scores.

    Raises:
        UserError: It is not a configuration, or asks for something impossible.
    """
    from qllm_jax.runtime import configure_runtime

    configure_runtime()
    logging.getLogger("absl").setLevel(logging.WARNING)  # Hydra shows everyone's INFO
    from qllm_jax import pipeline
    from qllm_jax.compose import config_from_composed
    from qllm_jax.results import final_scores, iqm

    outcome = pipeline.train_job(config_from_composed(values, "config.yaml"))
    return float(iqm(final_scores(outcome.runs[0].metrics["return"])))


if __name__ == "__main__":
    main()
