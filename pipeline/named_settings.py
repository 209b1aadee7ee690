"""Settings of one stage as a command line names them, without a configuration file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from stages.contract import ConfigurationError

Settings = TypeVar("Settings", bound=BaseModel)


def named_settings(
    kind: type[Settings], stage: str, example: str, options: dict[str, Any], settings: Sequence[str]
) -> Settings:
    """Settings from options and from ``NAME=VALUE``.

    Args:
        kind: Class of the settings.
        stage: A name may begin with it and a dot, as in a configuration.
        example: A setting, for the message about what is none.
        options: Settings by name; ``None`` for their default.
        settings: Further ones as ``NAME=VALUE``, the value in YAML.

    Raises:
        ConfigurationError: For an unknown name, or a value out of range.
    """
    values = {name: value for name, value in options.items() if value is not None}
    for each in settings:
        name, equals, value = each.partition("=")
        if not equals:
            raise ConfigurationError(f"--set {each}: write NAME=VALUE, such as {example}")
        values[name.removeprefix(f"{stage}.")] = yaml.safe_load(value)
    try:
        return kind(**values)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        message = first["msg"].replace("Extra inputs are not permitted", "there is no such setting")
        raise ConfigurationError(f"{where}: {message}, got {first['input']!r}") from None
