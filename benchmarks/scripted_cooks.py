"""Two scripted cooks: centralised play of an Overcooked kitchen that reads the whole state.

    python benchmarks/scripted_cooks.py [TASK…]     the best way to share a kitchen, and its return

Not a learner: no network, no training, and no limit on what a cook sees. In every step the planner
lists what the pots still want, assigns one job to each cook so that the two are done soonest, and
walks both along a joint path on which neither blocks the other. Where a cook cannot reach what it
would have to, or is told to keep to one side of the kitchen (`Way`), items go over the counters
that both reach. `python benchmarks/landmarks.py --scripted` records what it scores.
"""

import argparse
import collections
import dataclasses
import functools
import itertools
import math
from collections.abc import Callable, Iterator
from typing import Any

from qllm_jax.runtime import configure_runtime

configure_runtime()

import jax  # noqa: E402
import numpy as np  # noqa: E402
from kitchen_paths import Cell, Kitchen, Way, joint_step, kitchen_of, stand_of  # noqa: E402

from qllm_jax.envs.team import TeamEnv  # noqa: E402
from qllm_jax.tasks import get_task, task_names  # noqa: E402
from qllm_jax.tasks.catalog import overcooked, overcooked_v2  # noqa: E402
from qllm_jax.tasks.catalog.kitchens import (  # noqa: E402
    COUNTER,
    DELIVERY,
    FLOOR,
    GOAL,
    POT,
    RECIPE,
    Item,
    Place,
    Scene,
)
from qllm_jax.tasks.spec import TaskSpec  # noqa: E402

_SCENES = {"overcooked": overcooked.scene, "overcooked_v2": overcooked_v2.scene}
_NAMES = ("up", "down", "right", "left", "stay", "interact")
PLATE = Item(plate=True)
SOUP_SIZE = 3
# How many steps later a job may end than another and still be chosen before it.
_WORTH_SOUP, _WORTH_PLATE, _WORTH_INGREDIENT, _WORTH_FUTURE = 90, 46, 40, 15
_IDLE = 40.0
_WORTH_STAGED, _BESIDE = 8, 4  # and from how few steps away a counter is beside a pot
_SWAP = 6  # what putting something down again costs beside the way
_COOKING, _FILLING, _EMPTYING = 20, 6, 4  # steps: of a pot, of an ingredient's way, of a soup's
_MAX_STARTS = 4  # to choose a way by


@dataclasses.dataclass(frozen=True)
class Want:
    """What a pot wants, once it is `due` in so many steps; `number` tells equal wants apart."""

    item: Item
    pot: Cell
    due: int
    worth: int = dataclasses.field(compare=False)
    number: int


@dataclasses.dataclass(frozen=True)
class Job:
    """What a cook can do next.

    Attributes:
        purpose: Two cooks never have the same.
        target: What to interact with first.
        uses: Counters that it empties or fills.
        cost: Steps until it is done, less what it is worth.
        slack: How many steps it can be delayed without being late.
    """

    purpose: Any
    target: Cell
    uses: frozenset[Cell]
    cost: float
    slack: float


@functools.lru_cache(maxsize=1 << 13)  # episodes from equal starts are equal
def joint_action(scene: Scene, way: Way) -> tuple[int, int]:
    """Both cooks' next actions, as `joint_step` numbers them."""
    planner = Planner(kitchen_of(scene, way), scene)
    jobs = planner.assignment()
    targets = (_target(*jobs), _target(*jobs[::-1]))
    weights = (_haste(jobs[0]), _haste(jobs[1]))
    return joint_step(planner.kitchen, planner.stands, targets, weights)


class Planner:
    """The jobs of one moment, and who does which."""

    def __init__(self, kitchen: Kitchen, scene: Scene) -> None:
        self.kitchen, self.scene = kitchen, scene
        self.stands = stand_of(scene.cooks[0]), stand_of(scene.cooks[1])
        self.counters = {cell: self._place(cell).item for cell in kitchen.cells[COUNTER]}
        self.soup = Item(plate=True, ingredients=_recipe(scene))
        self.wants = sorted(self._wants(), key=lambda want: want.due)
        shared = [c for c in self.counters if self._reaches(0, c) and self._reaches(1, c)]
        self.shared = frozenset(shared)
        self.free = [cell for cell in shared if self.counters[cell] == Item()]

    def assignment(self) -> tuple[Job | None, Job | None]:
        """The two jobs that are cheapest together and do not get into each other's way."""
        first, second = ([*self._shortlist(cook), None] for cook in (0, 1))
        return min(
            (pair for pair in itertools.product(first, second) if _compatible(*pair)),
            key=lambda pair: sum(_IDLE if job is None else job.cost for job in pair),
        )

    def _place(self, cell: Cell) -> Place:
        return self.scene.places[cell[0]][cell[1]]

    def _uses(self, *cells: Cell) -> frozenset[Cell]:
        """The counters among some cells: piles and pots serve both cooks."""
        return frozenset(cell for cell in cells if cell in self.counters)

    def _steps(self, cook: int, target: Cell) -> float:
        return self.kitchen.steps_to(cook, target).get(self.stands[cook], math.inf)

    def _reaches(self, cook: int, target: Cell) -> bool:
        return self._steps(cook, target) < math.inf

    def _wants(self) -> Iterator[Want]:
        recipe = self.soup.ingredients
        for pot in self.kitchen.cells[POT]:
            place = self._place(pot)
            inside = place.item.ingredients
            if len(inside) == SOUP_SIZE:
                yield Want(PLATE, pot, place.wait, _WORTH_PLATE, 0)
                missing, due, worth = list(recipe), place.wait + _EMPTYING, _WORTH_FUTURE
            else:
                left = collections.Counter(recipe) - collections.Counter(inside)
                missing, due = sorted(left.elements()), 0
                worth = _WORTH_INGREDIENT + 4 * len(inside)
                ready = _COOKING + _FILLING * len(missing)
                yield Want(PLATE, pot, ready, _WORTH_FUTURE, 0)
            for number, ingredient in enumerate(missing):
                yield Want(Item(ingredients=(ingredient,)), pot, due, worth, number)

    def _shortlist(self, cook: int) -> list[Job]:
        """The two best jobs of every purpose."""
        by_purpose = collections.defaultdict(list)
        for job in sorted(self._jobs(cook), key=lambda job: job.cost):
            by_purpose[job.purpose].append(job)
        return [job for jobs in by_purpose.values() for job in jobs[:2] if job.cost < math.inf]

    def _jobs(self, cook: int) -> Iterator[Job]:
        held = self.scene.cooks[cook].item
        if held == Item():
            yield from self._fetching(cook, lambda source: self._steps(cook, source))
        elif held == self.soup:
            for target, rest in self._goals(cook):
                steps = self._steps(cook, target)
                yield Job(("soup", cook), target, self._uses(target), steps + rest - _WORTH_SOUP, 0)
        else:
            yield from self._putting(cook, held)
            yield from self._swapping(cook)

    def _putting(self, cook: int, held: Item) -> Iterator[Job]:
        for want in self.wants:
            if want.item == held:
                for target, rest in self._ends(cook, want):
                    steps = self._steps(cook, target)
                    yield _job(want, target, self._uses(target), steps + rest)
                for target in self._stages(cook, want):
                    yield _staging(want, target, self._uses(target), self._steps(cook, target))

    def _swapping(self, cook: int) -> Iterator[Job]:
        """Putting down what is held, for something that is wanted more."""
        empty = [
            c for c, item in self.counters.items() if item == Item() and self._reaches(cook, c)
        ]
        near = sorted(empty, key=lambda c: self._steps(cook, c) + _SWAP * (c in self.shared))[:2]
        for counter in near:
            way = self._steps(cook, counter) + _SWAP + _SWAP * (counter in self.shared)
            for job in self._fetching(
                cook, lambda s, c=counter, w=way: w + self.kitchen.carry(cook, c, s)
            ):
                yield dataclasses.replace(job, target=counter, uses=job.uses | {counter})

    def _fetching(self, cook: int, steps_to: Callable[[Cell], float]) -> Iterator[Job]:
        carry = self.kitchen.carry
        for want in self.wants:
            for source in self._sources(want.item):
                steps = steps_to(source)
                if steps == math.inf:
                    continue
                for target, rest in self._ends(cook, want):
                    if target in self.shared and source in self.shared:
                        continue  # it lies where the other can take it
                    steps_all = steps + carry(cook, source, target) + rest
                    is_early = want.due - steps_all > self.kitchen.way.early
                    now = dataclasses.replace(want, worth=_WORTH_FUTURE) if is_early else want
                    yield _job(now, source, self._uses(source, target), steps_all)
                for target in self._stages(cook, want):
                    if not self._is_beside(cook, source, want.pot):
                        steps_all = steps + carry(cook, source, target)
                        yield _staging(want, source, self._uses(source, target), steps_all)
        for source, item in self.counters.items():
            if item == self.soup:
                for target, rest in self._goals(cook):
                    if target in self.shared and source in self.shared:
                        continue
                    steps_all = steps_to(source) + carry(cook, source, target) + rest
                    yield Job(
                        ("soup", source), source, self._uses(source), steps_all - _WORTH_SOUP, 0
                    )

    def _sources(self, item: Item) -> Iterator[Cell]:
        for letter, cells in self.kitchen.cells.items():
            if letter not in (FLOOR, COUNTER, POT, GOAL, RECIPE):
                yield from (cell for cell in cells if self._place(cell).item == item)
        yield from (cell for cell, lies in self.counters.items() if lies == item)

    def _ends(self, cook: int, want: Want) -> Iterator[tuple[Cell, float]]:
        """Where a cook puts what a pot wants, and how long the other takes from there."""
        if self._reaches(cook, want.pot):
            yield want.pot, 0
        elif self._reaches(1 - cook, want.pot) and self._may_hand_over(cook, want):
            for counter in self.free:
                yield counter, 2 + self.kitchen.carry(1 - cook, counter, want.pot)

    def _stages(self, cook: int, want: Want) -> list[Cell]:
        """Empty counters of its own where a cook can lay out what a pot wants next."""
        is_wanted_later = want.worth == _WORTH_FUTURE and want.item != PLATE
        if not (self.kitchen.way.stages and is_wanted_later and self._reaches(cook, want.pot)):
            return []
        beside = [c for c in self.counters if self._is_beside(cook, c, want.pot)]
        staged = sum(self.counters[cell] == want.item for cell in beside)
        if want not in [other for other in self.wants if other.item == want.item][staged:]:
            return []
        return [cell for cell in beside if self.counters[cell] == Item()]

    def _is_beside(self, cook: int, counter: Cell, pot: Cell) -> bool:
        is_own = counter not in self.shared or self._reaches(1 - cook, pot)
        return (
            counter in self.counters
            and is_own
            and self.kitchen.carry(cook, counter, pot) <= _BESIDE
        )

    def _may_hand_over(self, cook: int, want: Want) -> bool:
        """Nothing that lies there already; ingredients leave a counter free for a plate."""
        same = [other for other in self.wants if other.item == want.item]
        there = sum(
            item == want.item and self._reaches(1 - cook, cell)
            for cell, item in self.counters.items()
        )
        there += self.scene.cooks[1 - cook].item == want.item
        is_needed_now = want.worth > _WORTH_FUTURE
        if not is_needed_now and len(self.shared) == 1:
            return False
        takes_soup = not any(self._reaches(1 - cook, goal) for goal in self.kitchen.cells[GOAL])
        reserve = takes_soup + (not is_needed_now)
        return want in same[there:] and len(self.free) > min(reserve, len(self.shared) - 1)

    def _goals(self, cook: int) -> Iterator[tuple[Cell, float]]:
        """Where a cook brings a soup, and how long the other takes from there."""
        goals = self.kitchen.cells[GOAL]
        mine = [goal for goal in goals if self._reaches(cook, goal)]
        yield from ((goal, 0) for goal in mine)
        if not mine:
            for counter, goal in itertools.product(self.free, goals):
                yield counter, 2 + self.kitchen.carry(1 - cook, counter, goal)


def _target(job: Job | None, other: Job | None) -> Cell | None:
    """What to walk to; a cook with time to spare leaves a pot's side to the other."""
    if job is None or (other and job.target == other.target and job.slack > max(1, other.slack)):
        return None
    return job.target


def _haste(job: Job | None) -> float:
    """What a step of delay costs."""
    return 0.0 if job is None else 1 / (1 + max(job.slack, 0))


def _compatible(job: Job | None, other: Job | None) -> bool:
    if job is None or other is None:
        return True
    return job.purpose != other.purpose and not job.uses & other.uses


def _job(want: Want, target: Cell, uses: frozenset[Cell], steps: float) -> Job:
    return Job(want, target, uses, max(steps, want.due) - want.worth, want.due - steps)


def _staging(want: Want, target: Cell, uses: frozenset[Cell], steps: float) -> Job:
    return Job(want, target, uses, steps - _WORTH_STAGED, want.due - steps)


def _recipe(scene: Scene) -> tuple[int, ...]:
    """What is asked for; without a sign that says so it is three of the only ingredient."""
    shown = [place.item for row in scene.places for place in row if place.letter == RECIPE]
    return shown[0].ingredients if shown else (0,) * SOUP_SIZE


def scripted_policy(spec: TaskSpec, way: Way) -> Callable:
    """The cooks as a policy of `rollout`: `(key, env_state, step) -> actions [2]`."""
    act = functools.partial(_act, spec, way)

    def policy(key, env_state, step):
        del key, step
        shape = jax.ShapeDtypeStruct((2,), np.int32)
        return jax.pure_callback(act, shape, env_state.inner, vmap_method="sequential")

    return policy


def best_way(spec: TaskSpec) -> Way:
    """The way that scores most from a few starts: first where to work, then when to do what.

    After its start a kitchen is deterministic, so this plans ahead with the kitchen itself; it does
    not learn.
    """
    keys = _different_starts(spec)

    def total(way: Way) -> float:
        return sum(score(spec, way, key) for key in keys)

    best = max(_divisions(_scene_at(spec, keys[0])), key=total)
    habits = itertools.product((False, True), (2, 8, 99))
    return max((dataclasses.replace(best, stages=s, early=e) for s, e in habits), key=total)


def score(spec: TaskSpec, way: Way, key: jax.Array) -> float:
    """Return of one episode from the start that a key draws."""
    reset, step = _compiled(spec.env)
    env_state, time_step = reset(key)
    total = 0.0
    while not bool(time_step.terminated | time_step.truncated):
        env_state, time_step = step(key, env_state, _act(spec, way, env_state.inner))
        total += float(time_step.reward)
    return total


def _act(spec: TaskSpec, way: Way, inner: Any) -> np.ndarray:
    numbers = [spec.action_names.index(name) for name in _NAMES]
    return np.asarray([numbers[action] for action in joint_action(_scene(spec, inner), way)], "i4")


def _scene(spec: TaskSpec, inner: Any) -> Scene:
    return _SCENES[spec.name.split("/")[0]](inner)


def _scene_at(spec: TaskSpec, key: jax.Array) -> Scene:
    return _scene(spec, _compiled(spec.env)[0](key)[0].inner)


@functools.lru_cache(maxsize=1)
def _compiled(env: TeamEnv) -> tuple[Callable, Callable]:
    return jax.jit(env.reset), jax.jit(env.step)


def _different_starts(spec: TaskSpec) -> list[jax.Array]:
    """Keys of up to `_MAX_STARTS` starts that differ, by recipe or by where the cooks look."""
    keys = [jax.random.key(seed) for seed in range(4 * _MAX_STARTS)]
    first = {_scene_at(spec, key): key for key in reversed(keys)}
    return list(first.values())[-_MAX_STARTS:]


def _divisions(scene: Scene) -> Iterator[Way]:
    """Together everywhere; in a kitchen of one region, also on either side of a row or column."""
    yield Way()
    if kitchen_of(scene, Way()).is_connected(*map(stand_of, scene.cooks)):
        shape = len(scene.places), len(scene.places[0])
        for axis in (0, 1):
            for at, far in itertools.product(range(2, shape[axis] - 1), (0, 1)):
                yield Way(axis, at, far)


def main() -> None:
    """Print the return and the deliveries of one episode in each kitchen."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tasks", nargs="*", help="kitchens; all by default")
    for name in parser.parse_args().tasks or kitchen_names():
        spec = get_task(name)
        way = best_way(spec)
        found = score(spec, way, jax.random.key(0))
        print(f"{name}: {found:g}, {found / DELIVERY:g} deliveries, {way}", flush=True)


def kitchen_names() -> list[str]:
    """All Overcooked tasks."""
    return [name for name in task_names() if name.startswith(("overcooked/", "overcooked_v2/"))]


if __name__ == "__main__":
    main()
