"""What interpretation may change, kept to try a piece of source a second way.

Called by `loops` and `comprehensions`, which first try to keep a loop and then write it out.
"""

from __future__ import annotations

from typing import Any

from qllm_jax.tfcaf.emit import Variant
from qllm_jax.tfcaf.interpreter.state import Run
from qllm_jax.tfcaf.values import Mapping, Sequence, Value


class Snapshot:
    """What interpretation may change, to try a loop a second way."""

    def __init__(self, run: Run):
        self.scopes = [
            (s, dict(s.values), dict(s.spelled), set(s.read_only), dict(s.one_sided))
            for s in run.every_scope()
        ]
        self.containers: dict[int, tuple[Sequence | Mapping, Any]] = {}
        for _, values, *_ in self.scopes:
            for value in values.values():
                self._keep(value)
        self.frames = [(frame, list(frame.early)) for frame in run.frames]
        self.out = list(run.out)
        self.identifiers = set(run.identifiers)
        self.variants = {
            key: [Variant(v.name, v.header, v.body) for v in define.variants]
            for key, define in run.functions.items()
        }
        self.helpers, self.notes = set(run.helpers), list(run.notes)
        self.lines = run.lines_emitted

    def _keep(self, value: Value) -> None:
        if isinstance(value, Sequence | Mapping) and id(value) not in self.containers:
            inside = value.items if isinstance(value, Sequence) else value.entries
            self.containers[id(value)] = (value, inside.copy())
            for item in inside if isinstance(inside, list) else inside.values():
                self._keep(item)

    def restore(self, run: Run) -> None:
        """Go back to how it was."""
        for scope, values, spelled, read_only, one_sided in self.scopes:
            scope.values, scope.spelled = dict(values), dict(spelled)
            scope.read_only, scope.one_sided = set(read_only), dict(one_sided)
        for container, inside in self.containers.values():
            if isinstance(container, Sequence):
                container.items[:] = inside
            else:
                container.entries.clear()
                container.entries.update(inside)
        for frame, early in self.frames:
            frame.early = list(early)
        run.out[:] = self.out
        run.identifiers = set(self.identifiers)
        for key, variants in self.variants.items():
            run.functions[key].variants = variants
        run.helpers, run.notes = set(self.helpers), list(self.notes)
        run.lines_emitted = self.lines
