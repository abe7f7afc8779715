import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import fedward.common.face_store as face_store
from fedward.common.errors import DataError, RunError
from fedward.common.face_store import open_faces
from fedward.common.faces import Curation, FaceData


def table(*faces: tuple[int, int, str]) -> str:
    """A fer2013.csv of faces given as (pattern, emotion, usage); pattern 0 is blank."""
    rows = [f"{emotion},{pattern}{' 0' * 2303},{usage}\n" for pattern, emotion, usage in faces]
    return "emotion,pixels,Usage\n" + "".join(rows)


EVERY_EMOTION = tuple((10 + code, code, "Training") for code in range(7))
FACES = (
    *((50, 0, "PrivateTest"), (40, 2, "PublicTest"), (50, 0, "PublicTest")),
    *EVERY_EMOTION,
    *((10, 0, "Training"), (40, 2, "Training"), (0, 3, "Training")),
    *((60, 3, "Training"), (60, 4, "Training"), (61, 4, "Training")),
)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    (tmp_path / "faces.csv").write_text(table(*FACES))
    return tmp_path / "faces.csv"


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def entry_of(cache: Path) -> Path:
    (entry,) = cache.iterdir()
    return entry


def patterns(data: FaceData) -> dict[str, list[int]]:
    parts = {"Training": data.training} | dict(data.tests)
    return {name: part.images[:, 0, 0].tolist() for name, part in parts.items()}


def refuse_to_read(monkeypatch: pytest.MonkeyPatch) -> None:
    def read_source(*_: object) -> None:
        raise AssertionError("the source was read again")

    monkeypatch.setattr(face_store, "read_source", read_source)


def test_faces_are_curated_in_the_order_of_the_source(source: Path, cache: Path) -> None:
    data = open_faces(source, cache=cache)
    assert patterns(data) == {
        "Training": [10, 11, 12, 13, 14, 15, 16, 61],
        "PublicTest": [40],
        "PrivateTest": [50],
    }
    assert data.training.labels.tolist() == [0, 1, 2, 3, 4, 5, 6, 4]
    assert data.curation == Curation(duplicates_removed=3, conflicting_labels=2, blank_removed=1)
    assert data.source == "faces.csv"
    assert len(data.sha256) == 64


def test_every_image_is_a_patient_of_its_own(source: Path, cache: Path) -> None:
    data = open_faces(source, cache=cache)
    parts = [data.training, *data.tests.values()]
    patients = np.concatenate([part.patients for part in parts])
    assert len(np.unique(patients)) == sum(map(len, parts))


def test_the_second_opening_reads_the_cache_alone(
    source: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = open_faces(source, cache=cache)
    refuse_to_read(monkeypatch)
    second = open_faces(source, cache=cache)
    assert patterns(second) == patterns(first)
    assert (second.sha256, second.curation) == (first.sha256, first.curation)
    with pytest.raises(ValueError, match="read-only"):
        second.training.images[0, 0, 0] = 1


def flip_a_pixel(entry: Path) -> None:
    content = bytearray((entry / "images.npy").read_bytes())
    content[-1] ^= 1
    (entry / "images.npy").write_bytes(content)


def cut_the_images(entry: Path) -> None:
    os.truncate(entry / "images.npy", 4000)


def empty_the_meta(entry: Path) -> None:
    (entry / "meta.json").write_text("")


def remove_the_labels(entry: Path) -> None:
    (entry / "labels.npy").unlink()


def claim_another_layout(entry: Path) -> None:
    meta = json.loads((entry / "meta.json").read_text())
    (entry / "meta.json").write_text(json.dumps(meta | {"layout": 0}))


@pytest.mark.parametrize(
    "damage",
    [flip_a_pixel, cut_the_images, empty_the_meta, remove_the_labels, claim_another_layout],
)
def test_a_damaged_entry_is_rebuilt(source: Path, cache: Path, damage: object) -> None:
    assert callable(damage)
    before = patterns(open_faces(source, cache=cache))
    damage(entry_of(cache))
    assert patterns(open_faces(source, cache=cache)) == before
    assert len(list(cache.iterdir())) == 1


def test_a_changed_source_is_read_again_and_its_old_entry_removed(
    source: Path, cache: Path
) -> None:
    old = open_faces(source, cache=cache)
    source.write_text(table(*FACES, (70, 6, "Training")))
    new = open_faces(source, cache=cache)
    assert len(new.training) == len(old.training) + 1
    assert new.sha256 != old.sha256
    assert len(list(cache.iterdir())) == 1


def test_two_sources_have_two_entries(source: Path, cache: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.csv"
    other.write_text(table(*EVERY_EMOTION))
    assert len(open_faces(source, cache=cache).training) == 8
    assert len(open_faces(other, cache=cache).training) == 7
    assert open_faces(other, cache=cache).tests == {}
    assert len(open_faces(source, cache=cache).training) == 8
    assert len(list(cache.iterdir())) == 2


def test_a_bad_source_leaves_nothing_behind(source: Path, cache: Path) -> None:
    source.write_text(table(*FACES, (300, 6, "Training")))
    with pytest.raises(DataError, match=r"row 18 .*grey level 1 is '300'"):
        open_faces(source, cache=cache)
    assert not cache.exists()


def test_a_source_that_changes_while_it_is_read_is_refused(
    source: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ends = iter(["before", "after"])
    monkeypatch.setattr(face_store, "identity", lambda _: next(ends))
    with pytest.raises(DataError, match="changed while it was read"):
        open_faces(source, cache=cache)
    assert not cache.exists()


def test_a_cache_that_cannot_be_written_says_so_and_leaves_nothing(
    source: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(RunError, match=r"cannot write .*: the disk is full; free 0 MB there"):
        open_faces(source, cache=cache)
    assert list(cache.iterdir()) == []


def test_a_cache_path_that_is_a_file_says_so(source: Path, tmp_path: Path) -> None:
    (tmp_path / "cache").touch()
    with pytest.raises(RunError, match=r"cannot write .*cache"):
        open_faces(source, cache=tmp_path / "cache")


def test_what_killed_writers_left_is_swept_after_a_day(source: Path, cache: Path) -> None:
    old, recent = cache / ".unfinished-old", cache / ".unfinished-recent"
    old.mkdir(parents=True)
    recent.mkdir()
    os.utime(old, (0, 0))
    open_faces(source, cache=cache)
    assert not old.exists()
    assert recent.exists()


def test_writers_at_the_same_time_agree(source: Path, cache: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from fedward.common.face_store import open_faces; "
        "print(open_faces(Path(sys.argv[1]), cache=Path(sys.argv[2])).training.images.sum())"
    )
    command = [sys.executable, "-c", program, str(source), str(cache)]
    writers = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    sums = {writer.communicate(timeout=60)[0] for writer in writers}
    assert {writer.returncode for writer in writers} == {0}
    assert sums == {f"{open_faces(source, cache=cache).training.images.sum()}\n"}
    assert len(list(cache.iterdir())) == 1


def test_test_images_alone_are_only_for_evaluation(source: Path, cache: Path) -> None:
    source.write_text(table((1, 3, "PrivateTest"), (2, 4, "PrivateTest")))
    data = open_faces(source, cache=cache, training_required=False)
    assert (len(data.training), {k: len(v) for k, v in data.tests.items()}) == (
        *(0, {"PrivateTest": 2}),
    )
    with pytest.raises(DataError, match="no Training images"):
        open_faces(source, cache=cache)


def test_an_emotion_that_curation_empties_is_named(source: Path, cache: Path) -> None:
    source.write_text(table(*EVERY_EMOTION, (11, 1, "PublicTest")))
    with pytest.raises(DataError, match="no image of disgust once duplicates"):
        open_faces(source, cache=cache)


def test_an_emotion_missing_from_training_is_named(source: Path, cache: Path) -> None:
    source.write_text(table(*EVERY_EMOTION[:-1]))
    with pytest.raises(DataError, match="Training holds no image of neutral"):
        open_faces(source, cache=cache)


@pytest.mark.real_data
def test_fer2013_opens_whole_and_fast(real_data: Path, tmp_path: Path) -> None:
    path = real_data / "fer2013" / "fer2013-train-publictest.csv.gz"
    started = time.process_time()
    data = open_faces(path, cache=tmp_path)
    assert time.process_time() - started < 30
    assert len(data.tests["PublicTest"]) == 3589
    left_out = data.curation
    removed = left_out.duplicates_removed + left_out.conflicting_labels + left_out.blank_removed
    assert len(data.training) + removed == 28_709
    started = time.process_time()
    open_faces(path, cache=tmp_path)
    assert time.process_time() - started < 1


@pytest.mark.real_data
def test_fer2013_folders_open(real_data: Path, tmp_path: Path) -> None:
    data = open_faces(real_data / "fer2013" / "fer2013-folders-sample.zip", cache=tmp_path)
    left_out = data.curation
    removed = left_out.duplicates_removed + left_out.conflicting_labels + left_out.blank_removed
    assert len(data.tests["PublicTest"]) == 656
    assert len(data.training) + removed == 2100
