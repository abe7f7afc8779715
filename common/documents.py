"""What a person writes by hand, a study or a policy: YAML or JSON, read and checked."""

from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from fedward.common.errors import ConfigError
from fedward.common.validated import Model, validated


def read_document(path: Path, model: type[Model], *, name: str, keys: str) -> Model:
    """The model in a YAML or JSON file.

    Args:
        path: the file.
        model: what it is to be.
        name: what a person calls that, such as "study".
        keys: some of its keys, to be named where the file has none.

    Raises:
        ConfigError: in one line what is wrong, where, and the nearest known key.
    """
    try:
        document = yaml.load(path.read_text(encoding="utf-8"), Loader=_EveryKeyOnce)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        why = " ".join(str(error).split())
        raise ConfigError(f"{path} cannot be read as YAML or JSON: {why}") from None
    if not isinstance(document, dict):
        raise ConfigError(f"{path} holds no {name}: give keys such as {keys}")
    try:
        return validated(model, document, name=name)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None


class _EveryKeyOnce(yaml.SafeLoader):
    """YAML lets the last of two equal keys win; a value that stands twice is a mistake."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        twice = sorted({str(key) for key in keys if keys.count(key) > 1})
        if twice:
            raise yaml.YAMLError(f"{twice[0]} stands twice (line {node.start_mark.line + 1} on)")
        return super().construct_mapping(node, deep)
