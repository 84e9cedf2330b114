"""`Config` from nested plain values and back, with an answer to every mistake in them."""

import dataclasses
import math
import types
import typing
from collections.abc import Mapping
from typing import Any, Literal

from qllm_jax.config.config import Config
from qllm_jax.errors import UserError, require, unknown_name


def config_from_mapping(values: Mapping[str, Any]) -> Config:
    """Build a `Config` from nested plain values, as Hydra composes them.

    Raises:
        UserError: An unknown key (with the closest valid ones), a wrong type or an
            impossible value.
    """
    return _build(Config, values, path="")


def config_to_mapping(config: Config) -> dict[str, Any]:
    """The inverse of `config_from_mapping`: nested dicts, lists and scalars."""

    def plain(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {str(key): plain(item) for key, item in value.items()}
        return [plain(item) for item in value] if isinstance(value, tuple | list) else value

    return plain(dataclasses.asdict(config))


def _build(kind: type, values: Mapping[str, Any], path: str) -> Any:
    hints = typing.get_type_hints(kind)
    for key in values:
        if key not in hints:
            where = f"{path}.{key}" if path else str(key)
            raise unknown_name(
                "config key", where, [f"{path}.{name}" if path else name for name in hints]
            )
    return kind(
        **{
            key: _convert(hints[key], value, f"{path}.{key}" if path else key)
            for key, value in values.items()
        }
    )


def _convert(hint: Any, value: Any, path: str) -> Any:
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        require(isinstance(value, Mapping), f"{path} is {value!r}; it must be a group of keys.")
        return _build(hint, value, path)
    if origin is Literal:
        if value not in args:
            raise unknown_name(f"value of {path}", str(value), [str(item) for item in args])
        return value
    if origin in (typing.Union, types.UnionType):
        if value is None:
            return None
        (inner,) = [item for item in args if item is not type(None)]
        return _convert(inner, value, path)
    if origin is dict:
        require(isinstance(value, Mapping), f"{path} is {value!r}; it must be a mapping.")
        return {str(key): item for key, item in value.items()}
    if origin is tuple:
        require(
            isinstance(value, list | tuple),
            f"{path} is {value!r}; it must be a list such as [a,b].",
        )
        return tuple(_convert(args[0], item, f"{path}[{i}]") for i, item in enumerate(value))
    return _convert_scalar(hint, value, path)


def _convert_scalar(hint: type, value: Any, path: str) -> Any:
    if hint is float and isinstance(value, int | float) and not isinstance(value, bool):
        require(math.isfinite(value), f"{path} is {value}; it must be finite.")
        return float(value)
    if hint is int and isinstance(value, float) and value.is_integer():
        return int(value)  # 1e6 is how people write a million
    if hint is int and isinstance(value, bool):
        raise UserError(f"{path} is {value}; it must be an integer.")
    if isinstance(value, hint):
        return value
    raise UserError(f"{path} is {value!r}; it must be of type {hint.__name__}.")
