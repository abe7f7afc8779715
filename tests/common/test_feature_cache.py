"""Features on disk: found again, never wrong, whole or absent."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from fedward.common import feature_cache
from fedward.common.errors import RunError
from fedward.common.feature_cache import cache_check, cached_features
from fedward.common.scattering import CHUNK, FEATURES, SCATTERING, extract

IMAGES = np.random.default_rng(5).integers(0, 256, (7, 48, 48)).astype(np.uint8)


def files(cache: Path) -> list[Path]:
    return sorted(cache.iterdir())


def never(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    raise AssertionError("extracted again")


NEVER = replace(SCATTERING, extract=never)


def test_first_and_second_time_agree(tmp_path: Path) -> None:
    first = cached_features(SCATTERING, IMAGES, tmp_path / "new" / "folder")
    second = cached_features(NEVER, IMAGES, tmp_path / "new" / "folder")
    assert np.array_equal(first, extract(IMAGES))
    assert np.array_equal(first, second)
    assert isinstance(second, np.memmap)


def test_without_a_cache_nothing_is_written(tmp_path: Path) -> None:
    assert np.array_equal(cached_features(SCATTERING, IMAGES, None), extract(IMAGES))
    assert files(tmp_path) == []


def test_blocks_give_what_one_extraction_gives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = np.random.default_rng(6).integers(0, 256, (40, 48, 48)).astype(np.uint8)
    monkeypatch.setattr(feature_cache, "_BLOCK", CHUNK)
    assert np.array_equal(cached_features(SCATTERING, images, tmp_path), extract(images))


def test_other_images_another_version_and_another_shape_have_other_files(tmp_path: Path) -> None:
    cached_features(SCATTERING, IMAGES, tmp_path)
    cached_features(SCATTERING, IMAGES[:6], tmp_path)
    cached_features(SCATTERING, IMAGES ^ 1, tmp_path)
    cached_features(replace(SCATTERING, version="another"), IMAGES, tmp_path)
    assert len(files(tmp_path)) == 4


@pytest.mark.parametrize("damage", ["cut", "longer", "flipped", "empty", "header"])
def test_a_damaged_file_is_made_anew(tmp_path: Path, damage: str) -> None:
    cached_features(SCATTERING, IMAGES, tmp_path)
    (path,) = files(tmp_path)
    data = bytearray(path.read_bytes())
    whole = bytes(data)
    data[0 if damage == "header" else 5000] ^= 1
    damaged = {"cut": whole[:-9], "longer": whole + b"x", "empty": b""}.get(damage, bytes(data))
    path.write_bytes(damaged)
    assert np.array_equal(cached_features(SCATTERING, IMAGES, tmp_path), extract(IMAGES))
    assert path.read_bytes() == whole


def test_the_file_is_plain_npy(tmp_path: Path) -> None:
    cached_features(SCATTERING, IMAGES, tmp_path)
    (path,) = files(tmp_path)
    assert np.array_equal(np.load(path, allow_pickle=False), extract(IMAGES))


def test_no_caller_can_change_the_file(tmp_path: Path) -> None:
    features = cached_features(SCATTERING, IMAGES, tmp_path)
    features[:] = 0
    assert np.array_equal(cached_features(SCATTERING, IMAGES, tmp_path), extract(IMAGES))


def test_a_file_is_read_once_while_it_does_not_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = cache_check(SCATTERING, IMAGES, tmp_path)
    assert not seen()
    cached_features(SCATTERING, IMAGES, tmp_path)
    assert seen()
    (path,) = files(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", never)
        assert seen()
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    assert not seen()


def test_no_images_are_fine(tmp_path: Path) -> None:
    nothing = np.empty((0, 48, 48), np.uint8)
    assert cached_features(SCATTERING, nothing, tmp_path).shape == (0, FEATURES)


def test_writers_at_the_same_time_leave_one_whole_file(tmp_path: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        results = list(
            pool.map(lambda _: cached_features(SCATTERING, IMAGES, tmp_path).copy(), range(8))
        )
    assert all(np.array_equal(result, results[0]) for result in results)
    assert len(files(tmp_path)) == 1


def test_a_failing_extraction_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(AssertionError):
        cached_features(NEVER, IMAGES, tmp_path)
    assert files(tmp_path) == []


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(RunError, match=r"cannot write .*file.features-"):
        cached_features(SCATTERING, IMAGES, tmp_path / "file")
