"""From `configs/` and command-line overrides to a `Config`.

The commands import this, and so may a program of yours; the rest of the package takes a `Config`.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from qllm_jax.config import (
    ALL_THAT_FIT,
    Config,
    SweepConfig,
    config_from_mapping,
    config_to_mapping,
)
from qllm_jax.errors import UserError, unknown_name
from qllm_jax.paths import data_dir


def compose_config(overrides: Sequence[str] = (), config_dir: Path | None = None) -> Config:
    """Compose the configuration as `qllm-jax … OVERRIDES` does.

    Args:
        overrides: Hydra overrides such as `task=matrix/climbing` or `learner.lr=1e-3`; what is
            swept, such as `sweep.lr=[1e-4,1e-3]` or `sweep.discount=uniform(0.9,0.99)`; and
            `config=FILE`, the `config.yaml` of a run or of a sweep's best setting to start from.
        config_dir: Directory of `config.yaml` and its groups; None is the shipped `configs`.

    Raises:
        UserError: An override that is malformed, or names a group, option or key that does not
            exist (with the closest ones that do), or a value that cannot be.
    """
    from hydra import compose, initialize_config_dir
    from hydra.errors import HydraException
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    directory = Path(config_dir) if config_dir is not None else data_dir("configs")
    swept, overrides = _swept_values(overrides)
    start, overrides = _starting_config(overrides, directory)
    _check_overrides(overrides, directory)
    try:
        with initialize_config_dir(config_dir=str(directory.resolve()), version_base="1.3"):
            # `++` adds a key that the YAML leaves to its dataclass default; our own check follows.
            forced = [forced_override(item, directory) for item in overrides]
            composed = compose("config", overrides=forced)
            if start is not None:
                changes = compose(overrides=[item for item in forced if item[0] in "+~"])
                composed = OmegaConf.merge(OmegaConf.create(start), changes)
        values: Any = OmegaConf.to_container(composed, resolve=True)
    except (HydraException, OmegaConfBaseException) as error:
        message = str(error).strip().splitlines()[0]
        raise UserError(f"the configuration could not be composed: {message}") from None
    return config_from_composed(values, str(directory / "config.yaml"), swept)


def config_from_composed(
    values: object, source: str, swept: Mapping[str, Any] | None = None
) -> Config:
    """The `Config` of what Hydra composed.

    Args:
        values: Nested plain values; `runner.num_seeds` may be "max".
        source: Where they are from, for the message.
        swept: Values by name that `sweep` tries beside those of the composed `sweep.values`.

    Raises:
        UserError: As `config_from_mapping`; or it is not a mapping.
    """
    if not isinstance(values, Mapping):
        raise UserError(f"{source} must hold a mapping.")
    sections = {str(key): value for key, value in values.items()}
    runner, sweep = sections.get("runner"), sections.get("sweep")
    if isinstance(runner, Mapping) and runner.get("num_seeds") == "max":
        sections["runner"] = {**runner, "num_seeds": ALL_THAT_FIT}
    if swept:
        before = sweep if isinstance(sweep, Mapping) else {}
        sections["sweep"] = {**before, "values": {**(before.get("values") or {}), **swept}}
    return config_from_mapping(sections)


def compose_learners(overrides: Sequence[str], config_dir: Path | None = None) -> list[Config]:
    """One configuration per learner of `compare.learners`, each with its own learner group.

    Values such as `learner.lr=1e-3` are set in all of them.

    Raises:
        UserError: As `compose_config`; a learner that has no configuration; or `config=FILE`, which
            is one learner's.
    """
    config = compose_config(overrides, config_dir)
    if not config.compare.learners:
        return [config]
    if any(item.startswith("config=") for item in overrides):
        raise UserError("config= is one learner's configuration; leave compare.learners out.")
    others = [item for item in overrides if not item.startswith("learner=")]
    return [
        compose_config([*others, f"learner={name}"], config_dir) for name in config.compare.learners
    ]


def _swept_values(overrides: Sequence[str]) -> tuple[dict[str, Any], list[str]]:
    """What is swept by name, and the other overrides.

    Hydra's grammar has no `uniform(0.9,0.99)`, so these never reach it.
    """
    settings = {field.name for field in dataclasses.fields(SweepConfig)} - {"values"}
    swept: dict[str, Any] = {}
    others = []
    for item in overrides:
        name, equals, text = item.partition("=")
        key = name.removeprefix("sweep.").removeprefix("values.")
        if not equals or not name.startswith("sweep.") or key in settings:
            others.append(item)
        else:
            swept[key] = _swept_value(text)
    return swept, others


def _swept_value(text: str) -> Any:
    """A list, one value, or the text of a distribution; `1e-4` is a number, which YAML denies."""
    import yaml

    if "(" in text:
        return text
    try:
        value = yaml.safe_load(f"[{text}]" if "," in text and text[:1] != "[" else text)
    except yaml.YAMLError:
        raise UserError(f"{text!r} is not a list of values; write [1e-4,1e-3].") from None
    return [_number(v) for v in value] if isinstance(value, list) else _number(value)


def _number(value: Any) -> Any:
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value


def _starting_config(
    overrides: Sequence[str], directory: Path
) -> tuple[dict[str, Any] | None, list[str]]:
    """The mapping of `config=FILE`, and the other overrides; None without one."""
    import yaml

    files = [item.partition("=")[2] for item in overrides if item.startswith("config=")]
    others = [item for item in overrides if not item.startswith("config=")]
    if not files:
        return None, others
    groups = [item for item in others if item.partition("=")[0] in config_groups(directory)]
    if groups:
        raise UserError(
            f"config={files[-1]} is a whole configuration, to which {groups[0]} cannot be added. "
            "Override single keys, such as mixer.name=qmix, or leave config= out."
        )
    try:
        start = yaml.safe_load(Path(files[-1]).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UserError(f"config={files[-1]} could not be read: {error}.") from None
    if not isinstance(start, dict):
        raise UserError(f"config={files[-1]} must hold a mapping, as a run's config.yaml does.")
    return start, others


def config_groups(config_dir: Path) -> dict[str, list[str]]:
    """Each config group's options, such as `{"mixer": ["iql", "qmix", …], …}`."""
    groups: dict[str, list[str]] = {}
    for path in sorted(config_dir.rglob("*.yaml")):
        group, *option = path.relative_to(config_dir).with_suffix("").parts
        if option:
            groups.setdefault(group, []).append("/".join(option))
    return groups


def _check_overrides(overrides: Sequence[str], directory: Path) -> None:
    groups = config_groups(directory)
    keys = _known_keys()
    for item in overrides:
        name, equals, value = item.lstrip("+~").partition("=")
        if not equals:
            raise UserError(
                f"{item!r} is not an override; write key=value, such as task=matrix/climbing "
                "or learner.lr=1e-3."
            )
        if name in groups:
            if value not in groups[name]:
                raise unknown_name(name, value, groups[name])
        elif name not in keys and not any(name.startswith(f"{key}.") for key in _OPEN_KEYS):
            raise unknown_name("config key", name, [*keys, *groups])


_OPEN_KEYS = ("task.env_kwargs", "llm.prices")  # mappings whose keys are the user's


def _known_keys() -> list[str]:
    def walk(prefix: str, values: dict[str, Any]) -> list[str]:
        names = []
        for key, value in values.items():
            name = f"{prefix}{key}"
            nested = isinstance(value, dict) and value
            names += walk(f"{name}.", value) if nested else [name]
        return names

    return walk("", config_to_mapping(Config()))


def forced_override(item: str, config_dir: Path) -> str:
    """An override with Hydra's `++`, which adds a key that the YAML leaves to its default.

    Groups, options of Hydra's command line and its own keys stay as they are.
    """
    name, equals, _ = item.partition("=")
    theirs = not equals or item[0] in "+~-" or name.split(".")[0].split("/")[0] == "hydra"
    return item if theirs or name in config_groups(config_dir) else f"++{item}"
