import numpy as np
import pytest
import torch

from fedward.common.arrays import to_arrays
from fedward.common.errors import ConfigError, ModelError
from fedward.common.models import MODELS, build, network_inputs, predict

NETWORKS = ("thesis-cnn", "compact-cnn", "thesis-lstm", "lstm", "cnn-lstm")
SIZES = {"thesis-cnn": (4_400_000, 4_600_000), "compact-cnn": (0, 1_000_000)}


def faces(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, 48, 48), dtype=np.uint8)


def test_the_registry_has_these_models():
    assert tuple(MODELS) == (*NETWORKS, "scatter", "scatter-cnn", "pretrained", "vgg16")


def test_an_unknown_model_is_refused_with_the_known_names():
    with pytest.raises(ConfigError, match=r"'resnet'.*compact-cnn"):
        build("resnet", seed=0)


@pytest.mark.parametrize("name", NETWORKS)
def test_models_hold_no_buffers_and_no_statistics_over_a_batch(name):
    model = build(name, seed=0).double().eval()
    assert not list(model.buffers())
    inputs = network_inputs(name, faces(4), cache=None).double()
    with torch.no_grad():
        assert model(inputs).shape == (4, 7)
        torch.testing.assert_close(model(inputs)[:1], model(inputs[:1]), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", NETWORKS)
def test_models_answer_no_faces_with_no_logits(name):
    assert build(name, seed=0)(torch.zeros(0, 1, 48, 48)).shape == (0, 7)


@pytest.mark.parametrize(("name", "bounds"), SIZES.items())
def test_sizes_are_as_announced(name, bounds):
    count = sum(array.size for array in to_arrays(build(name, seed=0)).values())
    assert bounds[0] < count < bounds[1]


def test_building_is_a_function_of_the_seed_and_leaves_the_global_generator_alone():
    before = torch.random.get_rng_state()
    first, again, other = (to_arrays(build("lstm", seed=seed)) for seed in (1, 1, 2))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(np.array_equal(first[key], again[key]) for key in first)
    assert any(not np.array_equal(first[key], other[key]) for key in first)


@pytest.mark.parametrize("name", [name for name in NETWORKS if MODELS[name].any_side])
def test_convolutional_models_take_smaller_faces(name):
    with torch.no_grad():
        assert build(name, seed=0)(torch.zeros(2, 1, 36, 36)).shape == (2, 7)


@pytest.mark.parametrize("name", ["lstm", "cnn-lstm"])
def test_lstms_refuse_other_sides_in_words(name):
    with pytest.raises(ModelError, match="low resolution"):
        build(name, seed=0)(torch.zeros(2, 1, 36, 36))


def test_pixels_are_standardised_per_image_and_cut_off():
    checkered = np.full((48, 48), 100, np.uint8)
    checkered[::2] = 200  # mean 150, deviation 50
    blank = np.full((48, 48), 77, np.uint8)
    faint = np.full((48, 48), 50, np.uint8)
    faint[::2] = 54  # mean 52, deviation 2: the floor of 8 applies
    spot = np.zeros((48, 48), np.uint8)
    spot[0, 0] = 255  # far beyond three deviations
    inputs = network_inputs("lstm", np.stack([checkered, blank, faint, spot]), cache=None)
    assert inputs.shape == (4, 1, 48, 48)
    assert inputs.dtype == torch.float32
    assert inputs[0, 0, :2, 0].tolist() == pytest.approx([1, -1])
    assert float(inputs[1].abs().max()) == 0
    assert inputs[2, 0, :2, 0].tolist() == pytest.approx([0.25, -0.25])
    assert float(inputs[3].max()) == 3


def test_predictions_are_probabilities_that_do_not_mind_a_mirror_or_the_batch_size():
    model = build("compact-cnn", seed=0)
    inputs = network_inputs("compact-cnn", faces(5), cache=None)
    answers = predict("compact-cnn", model, inputs)
    assert answers.shape == (5, 7)
    assert answers.dtype == np.float32
    np.testing.assert_allclose(answers.sum(1), 1, rtol=1e-5)
    np.testing.assert_allclose(predict("compact-cnn", model, inputs.flip(3)), answers, atol=1e-6)
    np.testing.assert_allclose(predict("compact-cnn", model, inputs, batch=2), answers, atol=1e-6)


def test_no_faces_give_no_predictions():
    inputs = network_inputs("lstm", faces(0), cache=None)
    assert predict("lstm", build("lstm", seed=0), inputs).shape == (0, 7)


@pytest.mark.usefixtures("vgg16_weights")
@pytest.mark.parametrize("name", ["scatter", "pretrained", "vgg16"])
def test_models_on_features_mind_no_mirror(name, tmp_path):
    shown = faces(3)
    features = network_inputs(name, shown, cache=tmp_path)
    assert features.dtype == torch.float32
    assert torch.equal(features, network_inputs(name, shown, cache=tmp_path))
    torch.testing.assert_close(features, network_inputs(name, shown, cache=None))
    torch.testing.assert_close(
        network_inputs(name, shown[:, :, ::-1].copy(), cache=None), features, atol=1e-4, rtol=0
    )
    model = build(name, seed=0)
    answers = predict(name, model, features)
    assert answers.shape == (3, 7)
    np.testing.assert_allclose(answers.sum(1), 1, rtol=1e-5)
    features_of = MODELS[name].features
    assert features_of is not None
    mark = {features_of().mark} - {None}
    assert bool(mark) == (name == "vgg16")
    assert set(to_arrays(model)) == {"mean", "weight", "bias"} | mark
