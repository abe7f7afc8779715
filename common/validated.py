"""Documents as frozen models, with mistakes named in one line."""

import difflib
from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from fedward.common.errors import ConfigError

Model = TypeVar("Model", bound=BaseModel)


def validated(model: type[Model], document: Mapping[str, Any], *, name: str) -> Model:
    """Validate a document as a frozen model; ``name`` is what a message calls the whole of it.

    Raises:
        ConfigError: naming every wrong key or value, and the cure.
    """
    try:
        return model.model_validate(document)
    except ValidationError as error:
        wrong = (_explain(dict(item), model, name) for item in error.errors())
        raise ConfigError("; ".join(wrong)) from None


def _explain(item: dict[str, Any], model: type[BaseModel], name: str) -> str:
    path = [str(part) for part in item["loc"]]
    if item["type"] == "extra_forbidden":
        near = difflib.get_close_matches(path[-1], _known_keys(path[:-1], model), n=1)
        return f"unknown key {'.'.join(path)!r}" + (f"; did you mean {near[0]!r}?" if near else "")
    # A rule about several keys has all of them as its input: it names those that matter itself.
    got = "" if isinstance(item["input"], dict) else f" (got {item['input']!r})"
    return f"{'.'.join(path) or name}: {item['msg']}{got}"


def _known_keys(path: list[str], model: type[BaseModel]) -> list[str]:
    for part in path:
        annotation = model.model_fields[part].annotation
        choices = [annotation, *getattr(annotation, "__args__", ())]
        model = next(c for c in choices if isinstance(c, type) and issubclass(c, BaseModel))
    return list(model.model_fields)
