"""Compiled training: environment, agents, replay, mixer, update and evaluation in one program.

    from qllm_jax.training import run_training, record_episode

    output = run_training(spec, mixer, config, on_chunk=print, checkpoint_dir=path)
    output.metrics["return"]                       # [R, E] greedy team return
    output.metrics["env_steps"]                    # [E] environment steps per run
    trace = record_episode(spec, mixer, config, output.run_params(0), jax.random.key(0))
    trace.credits                                  # [L, N] ∂q_tot/∂q_i along a greedy episode

A *run* is a seed id with its traced settings. Plain training has one run per seed:

    runs_for_seeds(config, mixer_scale(config.mixer.scale, num_agents, artifact_scale))

Trainings that differ in traced settings are joined with `join_runs`. A tournament has K · S runs,
candidate-major, for a mixer made with K functions:

    mixer = make_mixer(config.mixer, num_agents, state_dim, tfcafs=functions)
    output = run_training(spec, mixer, config, runs=runs_for_tournament(config, K, scale))
    output.metrics["return"].reshape(K, S, E)
"""

from qllm_jax.learning import NetworkParams
from qllm_jax.training.checkpoint import load_params, save_params
from qllm_jax.training.chunk import make_program
from qllm_jax.training.episode import EpisodeTrace, record_episode
from qllm_jax.training.fleet import most_runs
from qllm_jax.training.learners import get_learner
from qllm_jax.training.output import ChunkReport, TrainingOutput
from qllm_jax.training.paused import Paused, join_paused
from qllm_jax.training.precision import matmul_precision_scope, precision_used
from qllm_jax.training.runner import params_struct, run_rungs, run_training
from qllm_jax.training.runs import (
    Hyper,
    Runs,
    join_runs,
    make_hyper,
    mixer_scale,
    runs_for_seeds,
    runs_for_tournament,
)

__all__ = [
    "ChunkReport",
    "EpisodeTrace",
    "Hyper",
    "NetworkParams",
    "Paused",
    "Runs",
    "TrainingOutput",
    "get_learner",
    "join_paused",
    "join_runs",
    "load_params",
    "make_hyper",
    "make_program",
    "matmul_precision_scope",
    "mixer_scale",
    "most_runs",
    "params_struct",
    "precision_used",
    "record_episode",
    "run_rungs",
    "run_training",
    "runs_for_seeds",
    "runs_for_tournament",
    "save_params",
]
