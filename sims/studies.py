"""A study from what the user gave: a file, options of the command line, a Flower configuration."""

from collections.abc import Mapping
from pathlib import Path

from fedward.common.config import (
    NOT_AUGMENTED,
    STARTS_FROM_DRAWINGS,
    TAKES_SMALL_FACES,
    DataConfig,
    PrivacyConfig,
    Study,
    parse_study,
)
from fedward.common.documents import read_document
from fedward.common.errors import ConfigError
from fedward.common.vgg_weights import read_weights, weights_file
from fedward.sims.recipes import recipe


def read_study(path: Path) -> Study:
    """A study of the user's own, from YAML or JSON. Raises ConfigError when it is not one."""
    return read_document(path, Study, name="study", keys="name, training, rounds")


def customised(
    study: Study,
    *,
    data: str | None = None,
    hospitals: int | None = None,
    rounds: int | None = None,
    model: str | None = None,
    epsilon: float | None = None,
    seed: int | None = None,
    test_split: str | None = None,
    baselines: str | None = None,
) -> Study:
    """A study with some values replaced; None keeps what the recipe says, epsilon 0 is no privacy.

    Raises:
        ConfigError: when a value is not allowed.
    """
    document = study.model_dump()
    for part, key, value in (
        ("data", "source", data),
        ("data", "test_split", test_split),
        ("hospitals", "count", hospitals),
        ("rounds", "count", rounds),
        ("training", "model", model),
    ):
        if value is not None:
            document[part][key] = value
    if model is not None and model not in TAKES_SMALL_FACES:
        document["training"]["low_resolution"] = 0.0
    if model is not None and model not in STARTS_FROM_DRAWINGS:
        document["training"]["start"] = "random"
    if model in NOT_AUGMENTED:
        document["training"]["augment"] = False
    if seed is not None:
        document["seed"] = seed
    if baselines is not None:
        document["baselines"] = baselines
    if epsilon == 0:
        document["privacy"] = None
    elif epsilon is not None:
        privacy = document["privacy"] or PrivacyConfig(epsilon=1.0).model_dump()
        document["privacy"] = {**privacy, "epsilon": epsilon, "noise_multiplier": None}
        document["training"]["calibrate"] = False  # it needs private label frequencies
    return check_study(parse_study(document))


def check_study(study: Study) -> Study:
    """Raises ConfigError for what only appears when parts of a study meet."""
    if study.name.startswith("fer-") and study.data.source == DataConfig().source:
        raise ConfigError(
            f"recipe {study.name} needs FER-2013: name it with --data PATH (fer2013.csv, .csv.gz, "
            "a folder with train/ and test/, or a zip of one)"
        )
    return study


def check_weights(study: Study) -> None:
    """Raises ConfigError or ModelError, with the cure, when the study's model needs weights of the
    user's that this machine has not."""
    if study.training.model == "vgg16":
        read_weights(weights_file())


def study_from_run_config(run_config: Mapping[str, bool | float | int | str]) -> Study:
    """The study of `flwr run .`: empty strings, zeros and seed -1 keep what the recipe says.

    Raises:
        ConfigError: when a value is not allowed.
    """
    text = {key: str(run_config.get(key, "")) or None for key in ("data", "model")}
    epsilon = float(run_config.get("epsilon", 0.0))
    seed = int(run_config.get("seed", -1))
    return customised(
        recipe(str(run_config.get("recipe", "demo"))),
        data=text["data"],
        model=text["model"],
        hospitals=int(run_config.get("hospitals", 0)) or None,
        rounds=int(run_config.get("rounds", 0)) or None,
        epsilon=epsilon or None,
        seed=seed if seed >= 0 else None,
    )
