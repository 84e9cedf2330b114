"""Successive halving: when a rung ends, and how many go on. Imports nothing of ours.

"Non-stochastic Best Arm Identification and Hyperparameter Optimization",
https://arxiv.org/abs/1502.07943, algorithm 1: train all for a part of the budget, keep one in eta,
and go on with these. Called by `sweep.search`, whose arms are settings, and by `synthesis`, whose
arms are candidates; which of them are best is theirs to say.
"""


def rung_ends(num_evaluations: int, num_rungs: int, eta: int = 2) -> tuple[int, ...]:
    """Evaluations after which rungs end: rung r of R after 1 / eta^(R-1-r) of all, rounded up.

    Rungs that would end together are one, so that each has an evaluation of its own.
    """
    shares = (eta ** (num_rungs - 1 - rung) for rung in range(num_rungs))
    return tuple(sorted({-(-num_evaluations // share) for share in shares}))


def num_survivors(count: int, eta: int = 2, least: int = 1) -> int:
    """How many of `count` go on: one in eta, rounded up; `least` where there are as many."""
    return min(count, max(-(-count // eta), least))
