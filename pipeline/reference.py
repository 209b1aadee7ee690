"""The reference of all settings, made from the models: ``python -m pipeline.reference``."""

from __future__ import annotations

import inspect
import json
import sys
from collections.abc import Iterator
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from pipeline.config import Config, inner_model, is_named, limits_of

_HEAD = """# Settings

Every key of a configuration file, its type or range, its default, and what it does. Made from the
code by `python -m pipeline.reference > docs/settings.md`; a test holds the two together.
"""


def reference() -> str:
    """The reference as Markdown."""
    return "\n".join([_HEAD, *_section("", Config)]).rstrip() + "\n"


def _section(path: str, model: type[BaseModel]) -> Iterator[str]:
    plain = {name: info for name, info in model.model_fields.items() if inner_model(info) is None}
    if path:
        yield f"\n## `{path}`\n\n{_first_paragraph(model)}\n"
    yield "| key | type or range | default | |\n|---|---|---|---|"
    for name, info in plain.items():
        text = " ".join((info.description or "").replace("``", "`").split()).replace("|", "\\|")
        yield f"| `{name}` | {_type(info)} | {_default(info)} | {text} |"
    for name, info in model.model_fields.items():
        inner = inner_model(info)
        if inner is not None:
            below = f"{name}.NAME" if is_named(info) else name
            yield from _section(f"{path}.{below}" if path else below, inner)


def _first_paragraph(model: type[BaseModel]) -> str:
    return " ".join(
        inspect.cleandoc(model.__doc__ or "").split("\n\n")[0].replace("``", "`").split()
    )


def _type(info: FieldInfo) -> str:
    limits = limits_of(info)
    if limits:
        return limits.replace("(-inf", "(-∞").replace("inf)", "∞)")
    return f"`{_name(info.annotation)}`".replace("|", "\\|")


def _name(annotation: Any) -> str:  # noqa: ANN401 - any type expression
    if annotation is NoneType:
        return "null"
    if isinstance(annotation, type) and not getattr(annotation, "__args__", ()):
        return annotation.__name__
    if get_origin(annotation) is Literal:
        return " | ".join(json.dumps(choice) for choice in get_args(annotation))
    if get_origin(annotation) is UnionType or get_origin(annotation) is Union:
        return " | ".join(_name(each) for each in get_args(annotation))
    return str(annotation).replace("NoneType", "null")


def _default(info: FieldInfo) -> str:
    value = info.get_default(call_default_factory=True)
    if value is PydanticUndefined:
        return "required"
    if isinstance(value, dict):
        return "<br>".join(f"`{key}: {text}`" for key, text in value.items())
    return f"`{json.dumps(value)}`"


if __name__ == "__main__":
    sys.stdout.write(reference())
