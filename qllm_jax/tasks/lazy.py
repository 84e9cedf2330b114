"""Things that cost seconds and are seldom needed."""

import contextlib
import functools
import io
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

Value = TypeVar("Value")


class LazyMapping(Mapping[str, Value]):
    """A read-only mapping whose content is made when it is first looked at."""

    def __init__(self, make: Callable[[], Mapping[str, Value]]):
        """Args: make: called at most once."""
        self._make = make

    @functools.cached_property
    def _content(self) -> Mapping[str, Value]:
        return self._make()

    def __getitem__(self, name: str) -> Value:
        return self._content[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._content)

    def __len__(self) -> int:
        return len(self._content)


@functools.cache
def jaxmarl() -> Any:
    """The package, imported when a task is built: importing it initialises the accelerator.

    What it prints while it is imported is dropped. It prints past `sys.stdout`: a module of its
    own sets that back to `sys.__stdout__` on the way.
    """
    sink, real = io.StringIO(), sys.__stdout__
    with contextlib.redirect_stdout(sink), contextlib.redirect_stderr(sys.stderr):
        try:
            sys.__stdout__ = sink  # type: ignore[assignment, misc]
            import jaxmarl as package
            import jaxmarl.environments
        finally:
            sys.__stdout__ = real  # type: ignore[misc]
    return package
