import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from torch import nn

from fedward.common.arrays import check_like, load_arrays, read_arrays, save_arrays, to_arrays
from fedward.common.errors import ModelError, RunError, UpdateError
from fedward.common.models import build


def linear() -> nn.Linear:
    model = nn.Linear(2, 1)
    load_arrays(
        model, {"weight": np.array([[1, 2]], np.float32), "bias": np.array([3], np.float32)}
    )
    return model


def test_arrays_are_copies_sorted_by_name():
    model = linear()
    arrays = to_arrays(model)
    assert list(arrays) == ["bias", "weight"]
    arrays["weight"][:] = 9
    assert model.weight.tolist() == [[1, 2]]


def test_buffers_travel_too():
    model = nn.Module()
    model.register_buffer("mean", torch.tensor([1.0, 2.0]))
    assert to_arrays(model)["mean"].tolist() == [1, 2]


@pytest.mark.parametrize("name", ["compact-cnn", "lstm"])
def test_a_model_s_arrays_come_back_as_they_went(name):
    source, target = build(name, seed=1), build(name, seed=2)
    load_arrays(target, to_arrays(source))
    back = to_arrays(target)
    assert all(np.array_equal(array, back[key]) for key, array in to_arrays(source).items())
    assert all(array.flags["C_CONTIGUOUS"] for array in back.values())


def test_opacus_s_recurrent_layer_has_no_array_twice():
    from opacus.layers import DPLSTM

    twin = nn.Sequential(DPLSTM(3, 2))
    assert len(twin.state_dict()) > len(to_arrays(twin))
    assert sum(a.size for a in to_arrays(twin).values()) == sum(
        p.numel() for p in twin.parameters()
    )


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"bias": None}, "'bias' is missing"),
        ({"scale": np.zeros(1, np.float32)}, "'scale' is unknown"),
        ({"weight": np.zeros((2, 1), np.float32)}, r"'weight' has shape \(2, 1\), not \(1, 2\)"),
        ({"weight": np.zeros((1, 2))}, "'weight' is float64, not float32"),
        ({"weight": np.array([[1, np.nan]], np.float32)}, "'weight' holds NaN"),
        ({"bias": np.array([-np.inf], np.float32)}, "'bias' holds NaN or infinity"),
    ],
)
def test_arrays_unlike_the_reference_are_refused_by_name(change, words):
    reference = to_arrays(linear())
    arrays = {key: array for key, array in (reference | change).items() if array is not None}
    with pytest.raises(UpdateError, match=words):
        check_like(arrays, reference)


def test_arrays_like_the_reference_pass():
    arrays = {"bias": np.ones(1, np.float32), "weight": np.ones((1, 2), np.float32)}
    check_like(arrays, to_arrays(linear()))
    assert arrays["bias"].tolist() == [1]


def test_loading_wrong_arrays_leaves_the_model_unchanged():
    model = linear()
    arrays = {"bias": np.zeros(1, np.float32), "weight": np.zeros((1, 3), np.float32)}
    with pytest.raises(ModelError, match=r"Linear: array 'weight' has shape \(1, 3\)"):
        load_arrays(model, arrays)
    assert model.bias.tolist() == [3]


@settings(max_examples=20, deadline=None)
@given(
    arrays=st.dictionaries(
        st.text("abc._", min_size=1, max_size=8),
        hnp.arrays(np.float32, hnp.array_shapes(max_dims=4, max_side=4)),
        min_size=1,
        max_size=4,
    )
)
def test_files_give_back_what_was_saved(tmp_path_factory, arrays):
    path = tmp_path_factory.mktemp("arrays") / "model.safetensors"
    save_arrays(path, arrays)
    back = read_arrays(path)
    assert list(back) == sorted(arrays)
    for key, array in arrays.items():
        np.testing.assert_array_equal(back[key], array)


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "model.safetensors"
    save_arrays(path, {"a": np.ones(2, np.float32)})

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(RunError, match="disk is full"):
        save_arrays(path, {"a": np.zeros(2, np.float32)})
    assert read_arrays(path)["a"].tolist() == [1, 1]
    assert [file.name for file in tmp_path.iterdir()] == ["model.safetensors"]


def test_missing_damaged_and_foreign_files_are_refused_in_words(tmp_path):
    path = tmp_path / "model.safetensors"
    with pytest.raises(ModelError, match=r"cannot read model .*No such file"):
        read_arrays(path)
    save_arrays(path, {"a": np.ones(20, np.float32)})
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(ModelError, match="damaged"):
        read_arrays(path)
    save_arrays(path, {"a": np.ones(2)})  # type: ignore[dict-item]
    with pytest.raises(ModelError, match="'a' is float64"):
        read_arrays(path)
