"""What `fedward search` tries: every combination of the values given with --vary, with every seed.

A candidate is the user's study with some keys set; a key is dotted, such as
``training.learning_rate``. Every run of a search is scored on the validation part of Training.
"""

import difflib
import hashlib
import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from fedward.common.config import (
    Frozen,
    HospitalsConfig,
    PrivacyConfig,
    RoundsConfig,
    Study,
    TrainingConfig,
    parse_study,
)
from fedward.common.errors import ConfigError
from fedward.sims.accuracy_runs import Planned
from fedward.sims.studies import check_study, customised

Scalar = bool | int | float | str | None
Settings = Mapping[str, Scalar]

PARTS: Mapping[str, type[Frozen]] = {  # of a study, that may be varied
    "training": TrainingConfig,
    "rounds": RoundsConfig,
    "privacy": PrivacyConfig,
    "hospitals": HospitalsConfig,
}
# What may not: the faces that judge the candidates, as they are seen, and what has no part.
JUDGES = ("data", "name", "baselines", "hospitals.cameras")
UNIT = "privacy.unit"  # epsilons of different units can neither be compared nor composed
KEYS = tuple(
    f"{part}.{key}"
    for part, model in PARTS.items()
    for key in model.model_fields
    if f"{part}.{key}" not in (*JUDGES, UNIT)
)
LONGEST = 120  # characters of a run directory's name
VARY = "such as --vary training.learning_rate=40,60,80"


@dataclass(frozen=True)
class Candidate:
    """One combination.

    Attributes:
        settings: what is set, by dotted keys in the user's order, as the study understands it.
        study: the user's study with these settings, scored on what the user's study is scored on.
    """

    settings: Settings
    study: Study

    def run(self, seed: int, out: Path) -> Planned:
        """The run of this candidate with this seed, below ``out``."""
        study = customised(self.study, seed=seed, test_split="validation", baselines="none")
        what = f"{in_words(self.settings)}, seed {seed}"
        return Planned(what, study, out / folder_name(self.settings, seed))


def read_variations(texts: Sequence[str]) -> dict[str, tuple[Scalar, ...]]:
    """The values of every --vary KEY=VALUE,VALUE, by key.

    Raises:
        ConfigError: none at all, one that cannot be read, or a key that is unknown or given twice.
    """
    if not texts:
        raise ConfigError(f"nothing to choose between: give the values of a key, {VARY}")
    varied: dict[str, tuple[Scalar, ...]] = {}
    for text in texts:
        key, equals, values = text.partition("=")
        if not equals:
            raise ConfigError(f"--vary {text}: give a key and its values, {VARY}")
        _check_key(key)
        if key in varied:
            raise ConfigError(f"--vary {key} is given twice: give all of its values at once")
        varied[key] = tuple(_scalar(text, value) for value in values.split(","))
    return varied


def candidates(base: Study, varied: Mapping[str, Sequence[Scalar]]) -> list[Candidate]:
    """Every combination of these values in a study, the last key changing fastest.

    Raises:
        ConfigError: a value that the study refuses, or two that are the same to it.
    """
    made: list[Candidate] = []
    for values in itertools.product(*varied.values()):
        study = _with(base, dict(zip(varied, values, strict=True)))
        settings = {key: _value(study, key) for key in varied}
        if any(settings == other.settings for other in made):
            raise ConfigError(
                f"--vary gives {in_words(settings)} more than once: give every value once"
            )
        made.append(Candidate(settings, study))
    return made


def in_words(settings: Settings) -> str:
    """Such as "training.learning_rate=40, rounds.count=20"; readable as YAML, value by value."""
    return ", ".join(f"{key}={written(value)}" for key, value in settings.items())


def written(value: Scalar) -> str:
    """A value as a person writes it, and YAML reads it."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, float):
        short = f"{value:.12g}"
        return short if float(short) == value else repr(value)
    return str(value)


def folder_name(settings: Settings, seed: int) -> str:
    """The name of a run's directory: it follows from the settings, in whatever order they come, so
    that a search with more values finds the runs of one with fewer."""
    name = in_words(dict(sorted(settings.items()))).replace(", ", ",")
    plain = re.sub(r"[^\w.=,+-]", "_", name, flags=re.ASCII)
    if plain != name or len(plain) > LONGEST:
        plain = f"{plain[:LONGEST]}-{hashlib.sha256(name.encode()).hexdigest()[:12]}"
    return f"{plain},seed={seed}"


def _check_key(key: str) -> None:
    if key in KEYS:
        return
    if key == "seed":
        raise ConfigError("--vary seed: every candidate runs with every seed; give them by --seeds")
    if key in JUDGES or key.split(".")[0] in JUDGES:
        raise ConfigError(
            f"--vary {key}: the same faces judge every candidate; vary {', '.join(PARTS)} only"
        )
    if key == UNIT:
        raise ConfigError(
            f"--vary {key}: epsilons per image and per patient do not compare; search each alone"
        )
    near = dict.fromkeys(_near(key))
    meant = f"did you mean {' or '.join(near)}? " if near else ""
    raise ConfigError(f"--vary {key}: unknown key; {meant}There are: {', '.join(KEYS)}")


def _near(key: str) -> Iterator[str]:
    """Keys that are spelled alike, or that are called so within their part."""
    yield from (known for known in KEYS if known.split(".")[1] == key)
    yield from difflib.get_close_matches(key, KEYS, n=1)


def _scalar(text: str, written_value: str) -> Scalar:
    try:
        value = yaml.safe_load(written_value)
    except (yaml.YAMLError, ValueError):  # the latter of what looks like a date
        value = ...
    if not written_value.strip() or not isinstance(value, bool | int | float | str | None):
        raise ConfigError(
            f"--vary {text}: {written_value!r} is no single value; give numbers or words with "
            "commas between"
        )
    return value


def _with(study: Study, settings: Settings) -> Study:
    document = study.model_dump()
    for key, value in settings.items():
        part, name = key.split(".")
        document[part] = {**(document[part] or {}), name: value}
    return check_study(parse_study(document))


def _value(study: Study, key: str) -> Scalar:
    part, name = key.split(".")
    value: Scalar = getattr(getattr(study, part), name)
    return value
