"""Recipes are whole studies; overrides are checked."""

from pathlib import Path

import pytest

from fedward.common.config import HospitalsConfig
from fedward.common.errors import ConfigError, ModelError
from fedward.common.models import MODELS
from fedward.sims.recipes import RECIPES, recipe
from fedward.sims.studies import (
    check_study,
    check_weights,
    customised,
    read_study,
    study_from_run_config,
)


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_is_a_study_of_its_name(name: str) -> None:
    study = recipe(name)
    assert study.name == name
    assert study.training.model in MODELS


@pytest.mark.parametrize("name", ["fer-private-8", "fer-private-3", "fer-private-1"])
def test_private_recipes_state_their_epsilon(name: str) -> None:
    study = recipe(name)
    assert study.privacy is not None
    assert study.privacy.epsilon == float(name.rsplit("-", 1)[1])
    assert study.hospitals.count == 10
    assert (study.hospitals.alpha, study.hospitals.size_sigma) == (0.5, 0.6)


def test_overrides_reach_their_place() -> None:
    study = customised(
        recipe("demo"),
        data="x.csv",
        hospitals=3,
        rounds=2,
        model="lstm",
        epsilon=4.0,
        seed=7,
        baselines="pooled",
        test_split="PrivateTest",
    )
    assert (study.data.source, study.data.test_split) == ("x.csv", "PrivateTest")
    assert (study.hospitals.count, study.rounds.count, study.seed) == (3, 2, 7)
    assert (study.training.model, study.baselines) == ("lstm", "pooled")
    assert study.privacy is not None
    assert study.privacy.epsilon == 4.0


@pytest.mark.parametrize(
    "model", ["lstm", "scatter", "scatter-cnn", "vgg16", "thesis-cnn", "cnn-lstm"]
)
def test_another_model_fits_into_every_recipe(model: str) -> None:
    base = recipe("fer-compact")
    small = base.training.model_copy(update={"low_resolution": 0.4, "start": "drawings"})
    base = base.model_copy(update={"training": small})
    study = customised(base, data="x.csv", model=model)
    assert study.training.model == model
    assert (study.training.low_resolution > 0) == (model == "thesis-cnn")
    assert study.training.augment == (model != "scatter-cnn")
    assert study.training.start == ("drawings" if "lstm" in model else "random")


def test_models_without_weights_of_the_users_need_no_file() -> None:
    for name in RECIPES:
        if name != "fer-pooled-vgg16":
            check_weights(recipe(name))


def test_weights_of_the_users_are_asked_for(
    vgg16_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = customised(recipe("fer-private-8"), data="x.csv", model="vgg16")
    with pytest.raises(ConfigError, match="set FEDWARD_VGG16"):
        check_weights(study)
    monkeypatch.setenv("FEDWARD_VGG16", str(tmp_path / "vgg16.safetensors"))
    with pytest.raises(ModelError, match="no file is"):
        check_weights(study)
    (tmp_path / "vgg16.safetensors").write_bytes(vgg16_file.read_bytes()[:-1])
    with pytest.raises(ModelError, match="damaged"):
        check_weights(study)
    monkeypatch.setenv("FEDWARD_VGG16", str(vgg16_file))
    check_weights(study)


def test_epsilon_zero_switches_privacy_off() -> None:
    assert customised(recipe("fer-private-8"), data="x.csv", epsilon=0).privacy is None


def test_fer_recipes_ask_for_their_data() -> None:
    with pytest.raises(ConfigError, match="--data PATH"):
        check_study(recipe("fer-compact"))


def test_unknown_names_are_explained() -> None:
    with pytest.raises(ConfigError, match="demo, fer-compact"):
        recipe("fer")
    with pytest.raises(ConfigError, match="compact-cnn"):
        customised(recipe("demo"), model="vgg99")


def test_flower_run_configuration() -> None:
    untouched = {
        "recipe": "demo",
        "data": "",
        "model": "",
        "hospitals": 0,
        "rounds": 0,
        "epsilon": 0.0,
        "seed": -1,
    }
    assert study_from_run_config(untouched) == recipe("demo")
    changed = study_from_run_config({**untouched, "rounds": 2, "seed": 0, "model": "lstm"})
    assert (changed.rounds.count, changed.seed, changed.training.model) == (2, 0, "lstm")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[1, 2", "cannot be read"),
        ("[1, 2]", "holds no study"),
        ("name: x\nsede: 1", r"study\.yaml: unknown key 'sede'"),
        ("name: x\nseed: 1\nseed: 2", "seed stands twice"),
    ],
)
def test_a_file_that_is_no_study(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "study.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        read_study(path)


@pytest.mark.parametrize("name", [name for name in RECIPES if name.startswith("fer-pooled")])
def test_pooled_recipes_give_everything_to_one_hospital(name: str) -> None:
    study = recipe(name)
    assert study.hospitals == HospitalsConfig(count=1, alpha=None, size_sigma=0.0)
    assert not study.training.calibrate
    with pytest.raises(ConfigError, match="--data PATH"):
        check_study(study)


@pytest.mark.parametrize("epsilon", ["8", "3", "1"])
def test_pooled_private_recipes_have_the_privacy_of_their_federated_ones(epsilon: str) -> None:
    alone, together = recipe(f"fer-pooled-{epsilon}"), recipe(f"fer-private-{epsilon}")
    assert alone.privacy == together.privacy
    assert alone.training.model == together.training.model
    assert together.hospitals.count == 10
