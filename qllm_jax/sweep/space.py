"""What is swept: lists and distributions by config key, and the settings they give."""

import dataclasses
import itertools
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from qllm_jax.config import TRACED_LEARNER_FIELDS, Config, config_from_mapping, config_to_mapping
from qllm_jax.errors import UserError, require, unknown_name

Setting = Mapping[str, Any]  # dotted config key to value, such as {"learner.lr": 1e-3}

_SECTIONS = ("learner", "mixer", "agent", "runner")
_NOT_SWEPT = ("runner.num_seeds", "runner.first_seed", "runner.output_dir", "runner.num_devices")
_CALL = re.compile(r"(\w+)\(([^()]*)\)")
_DEFAULT_SAMPLES = 16
_MAX_SETTINGS = 100_000


@dataclasses.dataclass(frozen=True)
class Uniform:
    """Numbers between two bounds, drawn evenly, or evenly in their logarithm."""

    low: float
    high: float
    log: bool = False

    def draw(self, rng: np.random.Generator) -> float:
        """One number, to four significant digits, so that tables and configs read well."""
        low, high = (math.log(self.low), math.log(self.high)) if self.log else (self.low, self.high)
        value = rng.uniform(low, high)
        value = float(f"{math.exp(value) if self.log else value:.4g}")
        return min(max(value, self.low), self.high)


Space = Mapping[str, tuple[Any, ...] | Uniform]


def traced_keys() -> frozenset[str]:
    """Config keys that are arrays in a compiled program: sweeping them compiles nothing more."""
    return frozenset([*(f"learner.{name}" for name in TRACED_LEARNER_FIELDS), "mixer.scale"])


def resolve_key(name: str) -> str:
    """The config key that a swept name means: `lr` is `learner.lr`.

    Raises:
        UserError: No such key, or the name is in several sections.
    """
    known = _sweepable_keys()
    if name in known:
        return name
    found = [key for key in known if key.partition(".")[2] == name]
    if len(found) > 1:
        raise UserError(f"sweep.{name} could be {' or '.join(found)}; write the whole key.")
    if not found:
        shorts = [key.partition(".")[2] for key in known]
        raise unknown_name("setting to sweep", name, sorted({*known, *shorts}))
    return found[0]


def _sweepable_keys() -> list[str]:
    sections = config_to_mapping(Config())
    keys = [f"{section}.{name}" for section in _SECTIONS for name in sections[section]]
    return [key for key in keys if key not in _NOT_SWEPT]


def parse_space(values: Mapping[str, Any]) -> Space:
    """Lists and distributions by full config key.

    Args:
        values: By name, a list, a single value, or `uniform(low,high)` or `loguniform(low,high)`.

    Raises:
        UserError: Nothing is swept, a name is unknown or given twice, or a distribution is not.
    """
    require(
        len(values) > 0,
        "nothing is swept. Name settings and their values, such as sweep.lr=[1e-4,1e-3] or "
        "sweep.discount=uniform(0.9,0.99).",
    )
    space: dict[str, tuple[Any, ...] | Uniform] = {}
    for name, value in values.items():
        key = resolve_key(name)
        require(key not in space, f"{key} is swept twice.")
        space[key] = _choices(name, value)
    return space


def _choices(name: str, value: Any) -> tuple[Any, ...] | Uniform:
    if isinstance(value, str) and "(" in value:
        return _distribution(name, value)
    choices = tuple(value) if isinstance(value, list | tuple) else (value,)
    require(len(choices) > 0, f"sweep.{name} is empty; name at least one value.")
    distinct = list(dict.fromkeys(map(repr, choices)))
    require(len(distinct) == len(choices), f"sweep.{name} names a value twice: {list(choices)}.")
    return choices


def _distribution(name: str, text: str) -> Uniform:
    match = _CALL.fullmatch(text.strip())
    kinds = ("uniform", "loguniform")
    if match is None or match[1] not in kinds:
        raise UserError(
            f"sweep.{name} is {text!r}; write a list such as [1e-4,1e-3], uniform(low,high) or "
            "loguniform(low,high)."
        )
    try:
        low, high = (float(part) for part in match[2].split(","))
    except ValueError:
        raise UserError(
            f"sweep.{name} is {text!r}; {match[1]} takes two numbers: {match[1]}(0.9,0.99)."
        ) from None
    log = match[1] == "loguniform"
    require(
        math.isfinite(low) and math.isfinite(high) and low < high and (low > 0 or not log),
        f"sweep.{name} is {text!r}; the bounds must be finite and rise"
        f"{', from above zero' if log else ''}.",
    )
    return Uniform(low, high, log)


def draw_settings(config: Config) -> list[Setting]:
    """The settings that a sweep tries.

    The whole grid where every value is a list and `sweep.method` leaves it so; else
    `sweep.num_samples` draws, the same for the same `sweep.seed`.

    Raises:
        UserError: As `parse_space`; a distribution in a grid; too many settings; or a value that
            the config refuses, with the reason.
    """
    sweep = config.sweep
    space = parse_space(sweep.values)
    drawn = [key for key, values in space.items() if isinstance(values, Uniform)]
    require(
        sweep.method != "grid" or not drawn,
        f"{', '.join(drawn)} is a distribution, of which a grid has no values. Use "
        "sweep.method=random or halving, or give a list.",
    )
    require(
        sweep.method != "grid" or sweep.num_samples is None,
        "sweep.num_samples draws, and a grid has all its settings tried. Use sweep.method=random, "
        "or leave sweep.num_samples out.",
    )
    if drawn or sweep.method == "random" or sweep.num_samples is not None:
        settings = _sample(space, sweep.num_samples or _DEFAULT_SAMPLES, sweep.seed)
    else:
        settings = _grid(space)
    for setting in settings:
        with_setting(config, setting)
    return settings


def _grid(space: Space) -> list[Setting]:
    lists: list[Sequence[Any]] = [v for v in space.values() if not isinstance(v, Uniform)]
    count = math.prod(len(values) for values in lists)
    require(
        count <= _MAX_SETTINGS,
        f"the grid has {count:,} settings. Draw some of them with sweep.num_samples=….",
    )
    return [dict(zip(space, row, strict=True)) for row in itertools.product(*lists)]


def _sample(space: Space, count: int, seed: int) -> list[Setting]:
    rng = np.random.default_rng(seed)
    settings: dict[str, Setting] = {}
    for _ in range(20 * count):  # a small grid may have fewer settings than are asked for
        setting = {
            key: values.draw(rng)
            if isinstance(values, Uniform)
            else values[rng.integers(len(values))]
            for key, values in space.items()
        }
        settings.setdefault(repr(setting), setting)
        if len(settings) == count:
            break
    return list(settings.values())


def with_setting(config: Config, setting: Setting) -> Config:
    """The config with a setting's values.

    Raises:
        UserError: A value cannot be; says why.
    """
    mapping = config_to_mapping(config)
    for key, value in setting.items():
        section, _, name = key.partition(".")
        mapping[section][name] = value
    return config_from_mapping(mapping)


def describe_setting(setting: Setting) -> str:
    """Such as `lr=0.001, discount=0.95`."""
    return ", ".join(f"{short_key(key)}={format_value(v)}" for key, v in setting.items())


def short_key(key: str) -> str:
    """`lr` for `learner.lr`; other sections keep theirs."""
    return key.removeprefix("learner.")


def format_value(value: Any) -> str:
    """A value as tables and overrides show it."""
    return f"{value:g}" if isinstance(value, float) else "null" if value is None else str(value)
