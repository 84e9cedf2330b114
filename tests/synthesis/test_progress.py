"""What a person sees of a design that runs: how far it is, and the rows of the live table."""

from design_loop import quick_verify

from qllm_jax.jobs.generate import Progress
from qllm_jax.synthesis import generate
from qllm_jax.synthesis import loop as loop_module


def test_a_candidate_counts_when_its_fate_is_known(
    climbing, config, recorded, fake_measure, tmp_path, monkeypatch
):
    monkeypatch.setattr(loop_module, "verify", quick_verify)
    progress, settled = Progress(), []

    def on_event(event):
        progress.note(event)
        settled.append((event.kind, event.round, progress.num_settled))

    generate(climbing, config, recorded, tmp_path, on_event, fake_measure("r1c1"))
    counts = [count for _, _, count in settled]
    assert counts == sorted(counts)
    assert {
        count for kind, number, count in settled if kind in ("valid", "asking") and number == 1
    } == {0}
    assert {count for kind, number, count in settled if (kind, number) == ("valid", 1)} == {0}
    assert {count for kind, number, count in settled if (kind, number) == ("valid", 2)} == {3}
    assert [count for kind, _, count in settled if kind == "chosen"] == [3, 6, 6]
    assert progress.rows["r1c1"].kind == "chosen"  # though it was measured once more after that
    assert {name: row.round for name, row in progress.rows.items()} == {
        **{f"r1c{number}": 1 for number in (1, 2, 3)},
        **{f"r2c{number}": 2 for number in (1, 2, 3)},
        **dict.fromkeys(("vdn", "qmix"), 2),
    }
    assert progress.rows["r1c2"].values["score"] == 1.0  # kept from the measurement in round 1
