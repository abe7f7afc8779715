"""VGG16's weights from a file: whole or refused, and what to do without one."""

import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save

from fedward.common import vgg_weights
from fedward.common.arrays import Arrays, save_arrays
from fedward.common.errors import ConfigError, ModelError
from fedward.common.vgg_weights import (
    CONVERSION,
    SHAPES,
    digest,
    named_file,
    read_weights,
    weights_file,
)

NARROW = {"features.0.weight": (2, 3, 3, 3), "features.0.bias": (2,)}


def narrow_arrays() -> Arrays:
    rng = np.random.default_rng(0)
    return {name: rng.standard_normal(shape, np.float32) for name, shape in NARROW.items()}


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if VGG16 had one convolution to two channels."""
    monkeypatch.setattr(vgg_weights, "SHAPES", NARROW)


def test_the_arrays_are_those_of_configuration_d() -> None:
    numbers = {int(name.split(".")[1]) for name in SHAPES}
    assert numbers == {0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28}
    assert sum(int(np.prod(shape)) for shape in SHAPES.values()) == 14_714_688
    assert SHAPES["features.0.weight"] == (64, 3, 3, 3)
    assert SHAPES["features.17.weight"] == (512, 256, 3, 3)
    assert SHAPES["features.28.bias"] == (512,)


def test_a_whole_file_is_read(vgg16_file: Path) -> None:
    arrays = read_weights(vgg16_file)
    assert {name: array.shape for name, array in arrays.items()} == SHAPES
    assert {array.dtype for array in arrays.values()} == {np.dtype(np.float32)}


@pytest.mark.usefixtures("narrow")
def test_the_digest_is_of_the_weights_whatever_stands_beside_them(tmp_path: Path) -> None:
    arrays = narrow_arrays()
    save_arrays(tmp_path / "plain.safetensors", arrays)
    classifier = {"classifier.0.weight": np.ones((4, 2), np.float16)}
    (tmp_path / "whole.safetensors").write_bytes(save({**classifier, **arrays}))
    plain, whole = (read_weights(tmp_path / f"{name}.safetensors") for name in ("plain", "whole"))
    assert plain.keys() == whole.keys() == NARROW.keys()
    assert digest(plain) == digest(whole) == digest(arrays)
    whole["features.0.bias"][1] += 1
    assert digest(plain) != digest(whole)
    assert len(digest(plain)) == 64


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"features.0.bias": None}, "'features.0.bias' is missing"),
        ({"features.1.running_mean": np.zeros(2, np.float32)}, "running_mean' is unknown"),
        ({"features.0.bias": np.zeros(3, np.float32)}, r"has shape \(3,\), not \(2,\)"),
        ({"features.0.bias": np.zeros(2, np.float16)}, "is F16, not F32"),
        ({"features.0.bias": np.array([0, np.nan], np.float32)}, "NaN or infinity"),
    ],
)
@pytest.mark.usefixtures("narrow")
def test_other_arrays_are_refused(tmp_path: Path, change: Arrays, message: str) -> None:
    arrays = {name: a for name, a in (narrow_arrays() | change).items() if a is not None}
    path = tmp_path / "vgg16.safetensors"
    path.write_bytes(save(arrays))
    with pytest.raises(ModelError, match=message) as refused:
        read_weights(path)
    assert str(path) in str(refused.value)
    assert len(str(refused.value).splitlines()) == 1


@pytest.mark.parametrize("ending", [".pth", ".pt", ".PTH", ".pkl"])
def test_a_pickle_is_not_even_opened(tmp_path: Path, ending: str) -> None:
    with pytest.raises(ModelError, match=r"never unpickles.*weights_only=True.*save_file") as error:
        read_weights(tmp_path / f"vgg16-397923af{ending}")
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.usefixtures("narrow")
@pytest.mark.parametrize("damage", ["cut", "empty", "text", "zip"])
def test_what_is_no_safetensors_file_is_refused(tmp_path: Path, damage: str) -> None:
    whole = save(narrow_arrays())
    contents = {"cut": whole[:-3], "empty": b"", "text": b"weights", "zip": b"PK\x03\x04" + whole}
    path = tmp_path / "vgg16.safetensors"
    path.write_bytes(contents[damage])
    with pytest.raises(ModelError, match="no safetensors file, or a damaged one") as error:
        read_weights(path)
    assert len(str(error.value).splitlines()) == 1
    assert CONVERSION in str(error.value)


def test_what_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="cannot read"):
        read_weights(tmp_path)


@pytest.mark.parametrize("value", [None, ""])
def test_without_a_file_one_line_says_where_it_comes_from(
    monkeypatch: pytest.MonkeyPatch, value: str | None
) -> None:
    if value is not None:
        monkeypatch.setenv("FEDWARD_VGG16", value)
    assert named_file() is None
    with pytest.raises(ConfigError, match=r"vgg16 IMAGENET1K_V1.*set FEDWARD_VGG16") as error:
        weights_file()
    assert CONVERSION in str(error.value)
    assert len(str(error.value).splitlines()) == 1


def test_a_file_that_is_not_there_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FEDWARD_VGG16", "none.safetensors")
    with pytest.raises(ModelError, match=f"FEDWARD_VGG16 names {tmp_path}/none.safetensors, where"):
        weights_file()
    (tmp_path / "none.safetensors").touch()
    assert weights_file() == tmp_path / "none.safetensors"


def test_the_documentation_has_the_same_conversion() -> None:
    page = Path(__file__).parents[2] / "docs" / "simulate.md"
    assert f"\n{CONVERSION}\n" in page.read_text(encoding="utf-8")


@pytest.mark.usefixtures("narrow")
def test_the_conversion_that_messages_tell_works(tmp_path: Path) -> None:
    """Elsewhere than in Fedward, which writes and reads no such file."""
    arrays = narrow_arrays()
    np.savez(tmp_path / "arrays.npz", **arrays)
    write = (
        "import torch, numpy; n = numpy.load('arrays.npz'); "
        "w = {k: torch.from_numpy(n[k]) for k in n}; w['classifier.0.bias'] = torch.ones(3); "
        "torch.save(w, 'vgg16-397923af.pth')"
    )
    python, *rest = shlex.split(CONVERSION)
    assert python == "python"
    for arguments in (["-c", write], rest):
        subprocess.run([sys.executable, *arguments], cwd=tmp_path, check=True)
    read = read_weights(tmp_path / "vgg16.safetensors")
    assert digest(read) == digest(arrays)
