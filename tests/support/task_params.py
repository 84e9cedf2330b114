"""Parameters of tests that run for every task: the ordinary ones, and those left for the night."""

from collections.abc import Collection, Iterable

import pytest


def nightly_but(ordinary: Collection[str], names: Iterable[str]) -> list:
    """`names` as parameters; those not in `ordinary` are marked nightly."""
    return [
        pytest.param(name, marks=() if name in ordinary else pytest.mark.nightly) for name in names
    ]


def without_most_kitchens(names: Iterable[str]) -> list[str]:
    """All names but those of kitchens that differ from the kept ones in their sizes alone."""
    kept = {
        "overcooked/cramped_room",
        "overcooked_v2/cramped_room",
        "overcooked_v2/asymm_advantages_recipes_center",  # a recipe of the day
        "overcooked_v2/grounded_coord_simple",  # a button
    }
    return [name for name in names if not name.startswith("overcooked") or name in kept]
