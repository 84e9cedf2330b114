"""What a person did wrong, said once: what, why and the fix. Imports nothing of ours."""

import difflib
from collections.abc import Iterable

_MOST_LISTED = 30


class UserError(ValueError):
    """A mistake that a person can fix; the CLI prints it without a traceback and exits 2."""


def require(condition: bool, message: str) -> None:
    """Raise `UserError(message)` unless `condition` holds."""
    if not condition:
        raise UserError(message)


def closest_names(name: str, valid: Iterable[str], count: int = 3) -> list[str]:
    """The names of `valid` nearest to `name`, best first; at most `count`."""
    pool = sorted(set(valid))
    near = difflib.get_close_matches(name, pool, n=count, cutoff=0.4)
    return near + [item for item in pool if name in item and item not in near][: count - len(near)]


def unknown_name(kind: str, name: str, valid: Iterable[str]) -> UserError:
    """An error for a name in no registry; says the closest ones, and all of a short list.

    Args:
        kind: What the name stands for, such as "task", "mixer" or "config key".
        name: What was asked for.
        valid: Every name that would have worked.
    """
    pool = sorted(set(valid))
    near = closest_names(name, pool)
    hint = f"Did you mean {' or '.join(repr(item) for item in near)}? " if near else ""
    known = f"Known: {', '.join(pool)}." if len(pool) <= _MOST_LISTED else f"{len(pool)} are known."
    return UserError(f"unknown {kind} {name!r}. {hint}{known}")
