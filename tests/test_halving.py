"""Successive halving: rungs and survivors, counted by hand."""

from qllm_jax.halving import num_survivors, rung_ends


def test_rungs_end_at_shares_and_the_last_at_all_evaluations():
    assert rung_ends(10, 1) == (10,)
    assert rung_ends(10, 3) == (3, 5, 10)  # a quarter and a half, rounded up
    assert rung_ends(18, 3, eta=3) == (2, 6, 18)
    assert rung_ends(2, 4) == (1, 2)  # no rung without an evaluation of its own


def test_one_in_eta_survives_rounded_up_and_at_least_so_many():
    assert [num_survivors(count) for count in (8, 5, 2, 1)] == [4, 3, 1, 1]
    assert [num_survivors(count, eta=3) for count in (9, 4, 1)] == [3, 2, 1]
    assert [num_survivors(count, least=2) for count in (8, 3, 2, 1)] == [4, 2, 2, 1]
