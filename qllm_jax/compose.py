"""From `configs/` and command-line overrides to a `Config`. Only cli and tests import this."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from qllm_jax.config import Config
from qllm_jax.config_mapping import config_from_mapping, config_to_mapping
from qllm_jax.errors import UserError, unknown_name
from qllm_jax.paths import data_dir


def compose_config(overrides: Sequence[str] = (), config_dir: Path | None = None) -> Config:
    """Compose the configuration as `qllm-jax … OVERRIDES` does.

    Args:
        overrides: Hydra overrides such as `task=matrix/climbing` or `learner.lr=1e-3`.
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
    _check_overrides(overrides, directory)
    try:
        with initialize_config_dir(config_dir=str(directory.resolve()), version_base="1.3"):
            # `++` adds a key that the YAML leaves to its dataclass default; our own check follows.
            composed = compose("config", overrides=[_forced(item, directory) for item in overrides])
        values = OmegaConf.to_container(composed, resolve=True)
    except (HydraException, OmegaConfBaseException) as error:
        message = str(error).strip().splitlines()[0]
        raise UserError(f"the configuration could not be composed: {message}") from None
    if not isinstance(values, dict):
        raise UserError(f"{directory / 'config.yaml'} must hold a mapping.")
    return config_from_mapping({str(key): value for key, value in values.items()})


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


def _forced(item: str, directory: Path) -> str:
    name = item.partition("=")[0]
    return item if name in config_groups(directory) or item[0] in "+~" else f"++{item}"
