"""A kitchen's distances, and how two cooks walk in it: what `scripted_cooks` plans with."""

import collections
import dataclasses
import functools
import heapq
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence

from qllm_jax.tasks.catalog.kitchens import FLOOR, Cook, Scene

Cell = tuple[int, int]  # row, column
Stand = tuple[Cell, int]  # where a cook stands, and its direction
Node = tuple[tuple[Stand, Stand], tuple[bool, bool]]  # and whether each has interacted
Targets = tuple[Cell | None, Cell | None]

MOVES = ((-1, 0), (1, 0), (0, 1), (0, -1))  # up, down, right, left: `Cook.direction`'s order
STAY, INTERACT = 4, 5
_MOVE_COST = 0.001  # of equal paths, the one on which the cooks rather stay
_MAX_NODES = 600


@dataclasses.dataclass(frozen=True)
class Way:
    """How the cooks share a kitchen.

    Attributes:
        axis: 0 or 1 where a row or a column divides it, None where both work everywhere.
        at: The first row or column of the far side.
        far: Which cook works there.
        stages: Whether the next soup's ingredients are laid out beside a pot that cooks.
        early: How many steps too soon something may be fetched before it counts as for later.
    """

    axis: int | None = None
    at: int = 0
    far: int = 0
    stages: bool = False
    early: int = 8

    def allows(self, cook: int, cell: Cell) -> bool:
        """Whether a cook works while it stands in a cell."""
        return self.axis is None or (cell[self.axis] >= self.at) == (cook == self.far)


@dataclasses.dataclass(frozen=True, eq=False)
class Kitchen:
    """What does not change in a kitchen: its letters, and the way of working in it."""

    letters: tuple[str, ...]
    way: Way

    @functools.cached_property
    def cells(self) -> dict[str, list[Cell]]:
        """The cells of every letter."""
        found = collections.defaultdict(list)
        for row, letters in enumerate(self.letters):
            for column, letter in enumerate(letters):
                found[letter].append((row, column))
        return found

    @functools.cached_property
    def floor(self) -> frozenset[Cell]:
        """Where one can walk."""
        return frozenset(self.cells[FLOOR])

    def moved(self, cell: Cell, direction: int) -> Stand:
        """Where a move leads; into something, it only turns the cook."""
        ahead = _beside(cell, direction)
        return (ahead if ahead in self.floor else cell), direction

    @functools.cached_property
    def _origins(self) -> dict[Stand, list[Cell]]:
        origins = collections.defaultdict(list)
        for cell, direction in itertools.product(self.floor, range(len(MOVES))):
            origins[self.moved(cell, direction)].append(cell)
        return origins

    @functools.cache  # noqa: B019 (one kitchen per task and way)
    def steps_to(self, cook: int, target: Cell) -> dict[Stand, int]:
        """Steps until a cook has interacted with a target, alone in the kitchen."""
        steps = {}
        for direction in range(len(MOVES)):
            cell = _beside(target, direction ^ 1)
            if cell in self.floor and self.way.allows(cook, cell):
                steps[cell, direction] = 1
        queue = collections.deque(steps)
        while queue:
            stand = queue.popleft()
            for cell, turn in itertools.product(self._origins[stand], range(len(MOVES))):
                if (cell, turn) not in steps:
                    steps[cell, turn] = steps[stand] + 1
                    queue.append((cell, turn))
        return steps

    def is_connected(self, first: Stand, second: Stand) -> bool:
        """Whether there is a way from one cook to the other."""
        return any(
            {first, second} <= self.steps_to(0, cell).keys()
            for cells in self.cells.values()
            for cell in cells
        )

    @functools.cache  # noqa: B019
    def carry(self, cook: int, source: Cell, target: Cell) -> float:
        """Steps from an interaction with a source to the one with a target."""
        there, steps = self.steps_to(cook, source), self.steps_to(cook, target)
        return min(
            (steps.get(s, math.inf) for s, left in there.items() if left == 1), default=math.inf
        )


@functools.lru_cache(maxsize=64)
def _kitchen(letters: tuple[str, ...], way: Way) -> Kitchen:
    return Kitchen(letters, way)


def kitchen_of(scene: Scene, way: Way) -> Kitchen:
    """The kitchen of a scene; the same object for every scene of it, as its distances stay."""
    return _kitchen(tuple("".join(place.letter for place in row) for row in scene.places), way)


def stand_of(cook: Cook) -> Stand:
    """Where a cook stands."""
    return (cook.row, cook.column), cook.direction


def joint_step(
    kitchen: Kitchen, stands: tuple[Stand, Stand], targets: Targets, weights: tuple[float, float]
) -> tuple[int, int]:
    """The first step of the cheapest joint path (A*).

    Args:
        kitchen: Where they walk.
        stands: Where the cooks stand.
        targets: What each is to interact with; None for one that only makes way.
        weights: What a step of each costs until it has.

    Returns:
        Both actions: 0 to 3 are directions, then `STAY` and `INTERACT`.
    """
    tables = [
        {} if target is None else kitchen.steps_to(cook, target)
        for cook, target in enumerate(targets)
    ]

    def left(node: Node) -> float:
        pairs = zip(tables, weights, *node, strict=True)
        return sum(w * steps[stand] for steps, w, stand, done in pairs if not done)

    start = (stands, (targets[0] is None, targets[1] is None))
    order = itertools.count()  # the heap compares no nodes
    heap = [(left(start), 0, next(order), 0.0, start, (STAY, STAY))]
    seen: set[Node] = set()
    while heap:
        _, depth, _, cost, node, first = heapq.heappop(heap)
        if all(node[1]) or len(seen) > _MAX_NODES:
            return first
        if node in seen:
            continue
        seen.add(node)
        running = sum(w for w, done in zip(weights, node[1], strict=True) if not done)
        for actions, after in _successors(kitchen, tables, node):
            if after not in seen:
                moves = sum(action != STAY for action in actions)
                total = cost + running + _MOVE_COST * moves
                entry = (total + left(after), depth - 1, next(order), total, after)
                heapq.heappush(heap, (*entry, first if depth else actions))
    return STAY, STAY


def _successors(
    kitchen: Kitchen, tables: Sequence[Mapping[Stand, int]], node: Node
) -> Iterator[tuple[tuple[int, int], Node]]:
    """Every joint action and what it leads to, by JaxMARL's rules for two in one place."""
    options = []
    for table, (cell, direction), done in zip(tables, *node, strict=True):
        mine = [(STAY, (cell, direction), done)]
        mine += [(move, kitchen.moved(cell, move), done) for move in range(len(MOVES))]
        if not done and table.get((cell, direction)) == 1:
            mine.append((INTERACT, (cell, direction), True))
        options.append(mine)
    (here, _), (there, _) = node[0]
    for (act, mine, done), (other_act, theirs, other_done) in itertools.product(*options):
        if mine[0] == theirs[0] or (mine[0], theirs[0]) == (there, here):
            mine, theirs = (here, mine[1]), (there, theirs[1])
        yield (act, other_act), ((mine, theirs), (done, other_done))


def _beside(cell: Cell, direction: int) -> Cell:
    return cell[0] + MOVES[direction][0], cell[1] + MOVES[direction][1]
