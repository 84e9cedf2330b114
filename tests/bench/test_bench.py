"""The benchmark: counted work against arithmetic by hand, and a measurement of a tiny task."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import pytest

from qllm_jax.bench import bench_figure, bench_record, bench_tables, measure, measure_machine
from qllm_jax.bench.parts import Part
from qllm_jax.bench.shown import breakdown
from qllm_jax.bench.work import matmul_flops
from qllm_jax.config import (
    AgentConfig,
    BenchConfig,
    Config,
    LearnerConfig,
    MixerConfig,
    RunnerConfig,
)
from qllm_jax.errors import UserError
from qllm_jax.networks import make_mixer
from qllm_jax.results import save_figure_png
from qllm_jax.tasks import get_task
from qllm_jax.training import runs_for_seeds


def test_products_are_counted_through_loops_and_branches():
    weights, rows = jnp.ones((8, 16)), jnp.ones((4, 8))

    def program(rows, flag):
        def body(carry, _):
            return carry + jnp.sum(rows @ weights), None

        total, _ = jax.lax.scan(body, 0.0, length=5)
        return total + jax.lax.cond(
            flag, lambda: jnp.sum(rows @ weights[:, :2]), lambda: jnp.sum(rows @ weights)
        )

    traced = jax.make_jaxpr(program)(rows, True)
    # 5 rounds of 2·4·8·16, and the larger branch once more.
    assert matmul_flops(traced.jaxpr) == 6 * 2 * 4 * 8 * 16


def test_learning_is_what_an_iteration_has_left():
    seconds = {
        "environment": 1.0,
        "environment and acting": 3.0,
        "replay": 0.5,
        "iteration": 10.0,
        "evaluation": 2.0,
    }
    parts = tuple(Part(name, (value, value, 99.0), 1) for name, value in seconds.items())
    assert breakdown(parts) == {
        "environment": 1.0,
        "acting": 2.0,
        "replay": 0.5,
        "learning": 6.5,
        "evaluation": 2.0,
    }


@pytest.fixture(scope="module")
def result():
    config = Config(
        agent=AgentConfig(hidden_dim=8),
        mixer=MixerConfig(name="vdn"),
        learner=LearnerConfig(num_envs=2, batch_size=4, replay_capacity=8, learning_starts=100),
        runner=RunnerConfig(num_env_steps=400, num_evaluations=2, num_eval_episodes=2),
        bench=BenchConfig(seeds=(3, 1), repeats=2),
    )
    spec = get_task("matrix/climbing")
    mixer = make_mixer(config.mixer, spec.env.num_agents, spec.env.state_dim)

    def runs_of(count):
        runner = dataclasses.replace(config.runner, num_seeds=count)
        return runs_for_seeds(dataclasses.replace(config, runner=runner))

    return measure(config, spec, mixer, runs_of)


def test_every_number_of_seeds_is_measured(result):
    assert [row.num_seeds for row in result.rows] == [1, 3]
    for row in result.rows:
        # 400 steps in 2 chunks, per seed.
        assert row.env_steps_per_chunk == 200 * row.num_seeds
        assert len(row.chunk_s) == 2
        low, high = row.env_steps_per_s_range
        assert 0 < low <= row.env_steps_per_s <= high
        assert row.bytes_per_seed > row.replay_bytes_per_seed > 0
        assert 0 < row.share_of_matmul_rate(result.machine) < 1
    # The same arithmetic per seed, however many run beside it.
    one, three = result.rows
    assert three.flops_per_chunk == 3 * one.flops_per_chunk


def test_parts_are_measured_at_the_largest(result):
    assert [part.name for part in result.parts] == [
        "environment",
        "environment and acting",
        "replay",
        "iteration",
        "evaluation",
    ]
    assert [part.rounds for part in result.parts] == [4, 4, 4, 4, 1]
    assert all(seconds > 0 for part in result.parts for seconds in part.seconds)


def test_tables_record_and_figure_say_the_same(result, tmp_path):
    throughput, parts = bench_tables(result)
    assert [row[0] for row in throughput.rows] == ["1", "3"]
    assert [row[0] for row in parts.rows] == list(breakdown(result.parts))
    record = json.loads(json.dumps(bench_record(result, "qllm-jax bench")))
    assert record["rows"][1]["env_steps_per_s"] == result.rows[1].env_steps_per_s
    assert record["machine"]["platform"] == "cpu"
    path = save_figure_png(tmp_path / "bench.png", bench_figure(result))
    assert path.read_bytes().startswith(b"\x89PNG")


def test_the_machine_is_measured():
    machine = measure_machine(jax.local_devices()[:1], "highest")
    # A core of the last ten years does between 1 and 10,000 GFLOP/s.
    assert 1e9 < machine.matmul_flops_per_s < 1e13
    assert 1e8 < machine.bytes_per_s < 1e13
    assert machine.num_devices == 1


def test_impossible_settings_are_refused():
    with pytest.raises(UserError, match=r"bench\.seeds is \[\]"):
        BenchConfig(seeds=())
    with pytest.raises(UserError, match=r"bench\.repeats is 0"):
        BenchConfig(repeats=0)
