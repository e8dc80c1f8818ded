"""Strict reading of a YAML mapping into a dataclass: every key known, every value of its type."""

import dataclasses
import types
import typing
from pathlib import Path

import yaml

from .errors import KitError


def load_yaml(path: Path) -> dict:
    """The mapping in the YAML file `path`."""
    try:
        settings = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise KitError(f"{path} cannot be read: {error.strerror}.") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise KitError(f"{path} is not valid YAML: {' '.join(str(error).split())}.") from error
    if not isinstance(settings, dict):
        raise KitError(f"{path} should hold settings as 'key: value', but it holds {_kind(settings)}.")
    return settings


def read(cls: type, settings: object, where: str):
    """An instance of the dataclass `cls` from the mapping `settings`; `where` names it in errors."""
    if not isinstance(settings, dict):
        raise KitError(f"'{where}' should hold settings as 'key: value', but it holds {_kind(settings)}.")
    fields = {field.name: field for field in dataclasses.fields(cls)}
    unknown = [key for key in settings if key not in fields]
    if unknown:
        raise KitError(f"'{where}' has no setting '{unknown[0]}'; valid settings are {', '.join(fields)}.")
    missing = [name for name, field in fields.items() if name not in settings and _required(field)]
    if missing:
        raise KitError(f"'{where}' lacks the setting '{missing[0]}'.")
    hints = typing.get_type_hints(cls)
    return cls(**{key: _value(hints[key], value, f"{where}.{key}") for key, value in settings.items()})


def _required(field: dataclasses.Field) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def _value(hint: type, value: object, where: str):
    if isinstance(hint, types.UnionType):
        options = typing.get_args(hint)
        if value is None and type(None) in options:
            return None
        options = [option for option in options if option is not type(None)]
        if len(options) == 1:
            return _value(options[0], value, where)
        hint = next((o for o in options if isinstance(value, typing.get_origin(o) or o)), options[0])
    if dataclasses.is_dataclass(hint):
        return read(hint, value, where)
    container = typing.get_origin(hint)
    if container in (list, tuple) and isinstance(value, list | tuple):
        item = typing.get_args(hint)[0]
        return container(_value(item, each, f"{where}[{index}]") for index, each in enumerate(value))
    if container is dict and isinstance(value, dict):
        item = typing.get_args(hint)[1]
        return {str(key): _value(item, each, f"{where}.{key}") for key, each in value.items()}
    if hint is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if container is None and isinstance(value, hint) and (hint is bool) == isinstance(value, bool):
        return value
    expected = container.__name__ if container else hint.__name__
    raise KitError(f"'{where}' should be of type {expected}, but it holds {_kind(value)}.")


def _kind(value: object) -> str:
    return "nothing" if value is None else f"{value!r:.60} ({type(value).__name__})"
