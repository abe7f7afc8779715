"""What a search tries: values as the study understands them, and mistakes named with their cure."""

import json
from pathlib import Path

import pytest
import yaml

from fedward.common.config import Study
from fedward.common.errors import ConfigError
from fedward.sims.recipes import recipe
from fedward.sims.search_plan import (
    KEYS,
    LONGEST,
    Candidate,
    candidates,
    folder_name,
    in_words,
    read_variations,
    written,
)
from fedward.sims.studies import customised

PRIVATE = customised(recipe("fer-private-8"), data="x.csv")


def made(*vary: str, base: Study = PRIVATE) -> list[Candidate]:
    return candidates(base, read_variations(vary))


def test_every_combination_in_order() -> None:
    tried = made("training.learning_rate=40,6e1", "rounds.count=20,30")
    assert [in_words(one.settings) for one in tried] == [
        "training.learning_rate=40, rounds.count=20",
        "training.learning_rate=40, rounds.count=30",
        "training.learning_rate=60, rounds.count=20",
        "training.learning_rate=60, rounds.count=30",
    ]
    assert tried[2].settings == {"training.learning_rate": 60.0, "rounds.count": 20}
    assert (tried[2].study.training.learning_rate, tried[2].study.rounds.count) == (60.0, 20)
    untouched = tried[2].study.model_copy(
        update={"training": PRIVATE.training, "rounds": PRIVATE.rounds}
    )
    assert untouched == PRIVATE


def test_values_are_yaml() -> None:
    assert read_variations(["privacy.epsilon=null", "training.augment=true, off"]) == {
        "privacy.epsilon": (None,),
        "training.augment": (True, False),
    }
    (tried,) = made("privacy.epsilon=null", "privacy.noise_multiplier=1e-1")
    assert tried.study.privacy is not None
    assert (tried.study.privacy.epsilon, tried.study.privacy.noise_multiplier) == (None, 0.1)


@pytest.mark.parametrize("value", [None, True, False, 3, 40.0, 0.001, 1e-5, 1 / 3, "sgd", "1e2x"])
def test_what_is_written_is_read_again(value: object) -> None:
    text = written(value)  # type: ignore[arg-type]
    read = yaml.safe_load(text)
    assert (float(read) if isinstance(value, float) else read) == value


def test_privacy_can_be_given_to_a_study_without() -> None:
    base = recipe("demo")
    with pytest.raises(ConfigError, match=r"calibrate .* private label frequencies: set it") as one:
        made("privacy.epsilon=3", base=base)
    assert len(str(one.value)) < 200
    (tried,) = made("privacy.epsilon=3", "training.calibrate=false", base=base)
    assert tried.study.privacy is not None
    assert tried.study.privacy.epsilon == 3.0


def test_a_run_is_scored_on_the_validation_part_and_trains_no_baselines(tmp_path: Path) -> None:
    base = customised(PRIVATE, baselines="all", test_split="all", seed=7)
    (tried,) = made("rounds.count=9", base=base)
    run = tried.run(4, tmp_path)
    assert run.what == "rounds.count=9, seed 4"
    assert run.folder == tmp_path / "rounds.count=9,seed=4"
    assert (run.study.seed, run.study.baselines) == (4, "none")
    assert run.study.data.test_split == "validation"
    assert (tried.study.seed, tried.study.data.test_split) == (7, "all")


def test_a_folder_follows_from_the_settings_and_is_a_plain_name() -> None:
    one = folder_name({"training.learning_rate": 0.1, "rounds.count": 3}, 0)
    assert one == "rounds.count=3,training.learning_rate=0.1,seed=0"
    assert folder_name({"rounds.count": 3, "training.learning_rate": 0.1}, 0) == one
    strange = {folder_name({"training.model": name}, 1) for name in ("a/b", "a_b", "a b", "ä/b")}
    assert len(strange) == 4
    assert all("/" not in name and " " not in name and name.isascii() for name in strange)
    long = {folder_name({"training.model": "x" * 300 + end}, 1) for end in "ab"}
    assert len(long) == 2
    assert max(map(len, long)) < LONGEST + 30


def test_keys_are_those_of_the_study() -> None:
    document = json.loads(customised(PRIVATE, epsilon=1).model_dump_json())
    for key in KEYS:
        part, name = key.split(".")
        assert name in document[part]
    assert {"training.learning_rate", "rounds.count", "privacy.clipping_norm"} <= set(KEYS)


@pytest.mark.parametrize(
    ("vary", "message"),
    [
        ((), "nothing to choose between: .*--vary training.learning_rate=40,60,80"),
        (("rounds.count",), "--vary rounds.count: give a key and its values, such as"),
        (("rounds.count=",), "'' is no single value"),
        (("rounds.count=2,,3",), "'' is no single value"),
        (("training.model=[a",), "'.a' is no single value"),
        (("training.model={a: b}",), "'{a: b}' is no single value"),
        (("rounds.count=2025-13-41",), "is no single value"),
        (("rounds.count=2025-12-24",), "is no single value"),
        (("rounds.count=1", "rounds.count=2"), "is given twice: give all of its values at once"),
        (("rounds.cuont=1",), "unknown key; did you mean rounds.count. There are: training.model,"),
        (("learning_rate=1",), "unknown key; did you mean training.learning_rate. There are"),
        (("sede.x=1",), "unknown key; There are: training.model,"),
        (("seed=1,2",), "give them by --seeds"),
        (("data.source=a,b",), "the same faces judge every candidate"),
        (("data.test_split=all",), "the same faces judge every candidate"),
        (("hospitals.cameras=clean",), "the same faces judge every candidate"),
        (("privacy.unit=image,patient",), "per image and per patient do not compare"),
        (("privacy.records_per_patient=2",), "records_per_patient is for unit patient"),
        (("rounds.count=0",), "rounds.count: .*greater than or equal to 1 .got 0"),
        (("rounds.count=2.5",), "rounds.count: .*valid integer"),
        (("training.optimizer=adam",), "training.optimizer: .*'adamw' or 'sgd'"),
        (("training.learning_rate=.nan",), "training.learning_rate"),
        (("training.learning_rate=40,4e1",), "gives training.learning_rate=40 more than once"),
        (("privacy.noise_multiplier=1",), "exactly one of epsilon and noise_multiplier$"),
    ],
)
def test_mistakes_are_named_in_one_line(vary: tuple[str, ...], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as refused:
        made(*vary)
    assert "\n" not in str(refused.value)
