import io
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fedward.common.errors import DataError
from fedward.common.face_source import identity, read_source
from fedward.common.faces import EMOTIONS
from fedward.common.fer_folders import folder_members, members_sha256

OTHER_SPELLING = ("angry", "disgusted", "fearful", "happy", "sad", "surprised", "neutral")


def encoded(pixels: np.ndarray, form: str = "PNG", mode: str | None = None) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(stream, format=form)
    return stream.getvalue()


def grey(level: int) -> np.ndarray:
    face = np.full((48, 48), level, np.uint8)
    face[0, 0] = 255 - level
    return face


def small_set(names: tuple[str, ...] = EMOTIONS) -> dict[str, bytes]:
    files = {f"train/{name}/Training_{i}.png": encoded(grey(i)) for i, name in enumerate(names)}
    files[f"test/{names[3]}/PublicTest_1.png"] = encoded(grey(20))
    files[f"test/{names[3]}/PrivateTest_1.png"] = encoded(grey(21))
    return files


def write_folder(folder: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def write_zip(path: Path, files: dict[str, bytes], top: str = "") -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(top + name, content)
    return path


def message(path: Path) -> str:
    with pytest.raises(DataError) as caught:
        read_source(path)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(str(path))
    return str(caught.value)


@pytest.mark.parametrize("names", [EMOTIONS, OTHER_SPELLING])
def test_both_spellings_give_the_same_codes_and_splits(
    tmp_path: Path, names: tuple[str, ...]
) -> None:
    faces, _ = read_source(write_folder(tmp_path, small_set(names)))
    by_level = {int(image[1, 1]): row for row, image in enumerate(faces.images)}
    assert [int(faces.labels[by_level[code]]) for code in range(7)] == list(range(7))
    assert [int(faces.splits[by_level[level]]) for level in (0, 6, 20, 21)] == [0, 0, 1, 2]
    assert faces.images.shape == (9, 48, 48)
    assert np.array_equal(faces.images[by_level[4]], grey(4))


@pytest.mark.parametrize("top", ["", "archive/", "archive/fer/"])
def test_a_zip_reads_as_the_folder(tmp_path: Path, top: str) -> None:
    folder, _ = read_source(write_folder(tmp_path / "d", small_set()))
    packed, _ = read_source(write_zip(tmp_path / "d.zip", small_set(), top))
    assert np.array_equal(folder.images, packed.images)
    assert np.array_equal(folder.labels, packed.labels)
    assert np.array_equal(folder.splits, packed.splits)


def test_a_test_folder_without_usage_names_is_public(tmp_path: Path) -> None:
    files = {name: c for name, c in small_set().items() if name.startswith("train")}
    files["test/sad/im0.png"] = encoded(grey(40))
    faces, _ = read_source(write_folder(tmp_path, files))
    assert faces.counts()[:, 4].tolist() == [1, 1, 0]


def test_upper_case_folders_and_litter_are_no_obstacle(tmp_path: Path) -> None:
    files = {name.replace("train/angry", "Train/Angry"): c for name, c in small_set().items()}
    files = {name.replace("train/", "Train/"): c for name, c in files.items()}
    files |= {"Train/Angry/.DS_Store": b"x", "Train/Angry/Thumbs.db": b"x", "README.md": b"x"}
    faces, _ = read_source(write_folder(tmp_path / "d", files))
    assert len(faces) == 9
    files["__MACOSX/Train/Angry/._a.png"] = b"x"
    packed, _ = read_source(write_zip(tmp_path / "d.zip", files))
    assert len(packed) == 9


def test_rgb_with_equal_channels_and_jpeg_read_as_grey(tmp_path: Path) -> None:
    files = small_set()
    files["train/sad/rgb.png"] = encoded(grey(60), mode="RGB")
    files["train/sad/palette.png"] = encoded(grey(61), mode="P")
    files["train/sad/grey.jpg"] = encoded(np.full((48, 48), 62, np.uint8), "JPEG")
    files["train/sad/rgb.jpeg"] = encoded(np.full((48, 48), 63, np.uint8), "JPEG", "RGB")
    faces, _ = read_source(write_folder(tmp_path, files))
    assert {60, 61, 62, 63} <= {int(image[1, 1]) for image in faces.images}


def test_the_sha256_is_of_names_and_contents_not_of_the_place(tmp_path: Path) -> None:
    one = members_sha256(folder_members(write_folder(tmp_path / "a", small_set())))
    two = members_sha256(folder_members(write_folder(tmp_path / "b", small_set())))
    assert one == two
    (tmp_path / "b/train/sad/Training_4.png").rename(tmp_path / "b/train/sad/Training_44.png")
    assert members_sha256(folder_members(tmp_path / "b")) != one


def test_identity_changes_with_any_file(tmp_path: Path) -> None:
    folder = write_folder(tmp_path, small_set())
    before = identity(folder)
    assert identity(folder) == before
    os.utime(folder / "train/sad/Training_4.png", ns=(1, 1))
    assert identity(folder) != before


COLOUR = np.stack([grey(9), grey(9), grey(10)], axis=2)
BAD_FILES = {
    "colour": (encoded(COLOUR), "a colour image; convert"),
    "large": (encoded(np.zeros((64, 64), np.uint8)), "64x64 pixels; crop"),
    "alpha": (encoded(grey(1), mode="LA"), "colour mode LA; save it as 8-bit grey"),
    "cut": (encoded(grey(1), "JPEG")[:200], "damaged, or not an image"),
    "text": (b"hello", "damaged, or not an image"),
    "empty": (b"", "damaged, or not an image"),
    "huge": (b"\0" * (1 << 20) + b"\0", "too large for a face"),
}


@pytest.mark.parametrize("kind", BAD_FILES)
@pytest.mark.parametrize("packed", [False, True])
def test_a_bad_image_is_named(tmp_path: Path, kind: str, packed: bool) -> None:
    content, reason = BAD_FILES[kind]
    files = small_set() | {"train/happy/bad.png": content}
    path = write_zip(tmp_path / "d.zip", files) if packed else write_folder(tmp_path / "d", files)
    assert message(path).startswith(f"{path}, train/happy/bad.png: ")
    assert reason in message(path)


def test_an_image_bomb_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    stream = io.BytesIO()
    Image.new("1", (12_000, 12_000)).save(stream, format="PNG")
    path = write_folder(tmp_path, small_set() | {"train/sad/bomb.png": stream.getvalue()})
    assert "train/sad/bomb.png: damaged, or not an image" in message(path)


def test_unknown_classes_and_other_files_are_named(tmp_path: Path) -> None:
    path = write_folder(tmp_path / "a", small_set() | {"train/bored/x.png": encoded(grey(1))})
    assert "train/bored/x.png: unknown class folder 'bored'; rename it" in message(path)
    path = write_folder(tmp_path / "b", small_set() | {"train/sad/notes.txt": b"x"})
    assert "train/sad/notes.txt: not a .jpg or .png image" in message(path)


def test_an_empty_class_in_training_is_named(tmp_path: Path) -> None:
    files = small_set()
    del files["train/disgust/Training_1.png"]
    path = write_folder(tmp_path, files)
    (path / "train/disgust").mkdir()
    assert "Training holds no image of disgust" in message(path)


def test_a_folder_without_train_says_what_to_name(tmp_path: Path) -> None:
    assert "has no folder train/" in message(tmp_path)
    write_folder(tmp_path / "fer", small_set())
    assert f"name {tmp_path / 'fer'}" in message(tmp_path)
    other = write_folder(tmp_path / "other", {"fer2013.csv": b""})
    assert f"name {other / 'fer2013.csv'}" in message(other)
    (tmp_path / "bare/train").mkdir(parents=True)
    assert "holds no images" in message(tmp_path / "bare")


def test_a_zip_holding_the_table(tmp_path: Path) -> None:
    row = " ".join(["5"] * 2304)
    table = "emotion,pixels,Usage\n" + f"1,{row},PrivateTest\n" * 3
    path = write_zip(tmp_path / "t.zip", {"fer2013/fer2013.csv": table.encode(), "x.csv": b"no"})
    faces, _ = read_source(path)
    assert faces.counts()[2].tolist() == [0, 3, 0, 0, 0, 0, 0]
    bad = write_zip(tmp_path / "u.zip", {"a.csv": table.replace("1,", "8,").encode()})
    assert "u.zip, a.csv, row 2 (the header is row 1): emotion '8'" in message(bad)


def test_zips_that_are_none_or_hold_something_else(tmp_path: Path) -> None:
    whole = write_zip(tmp_path / "d.zip", small_set()).read_bytes()
    (tmp_path / "cut.zip").write_bytes(whole[: len(whole) // 2])
    assert "damaged, encrypted or unusual zip" in message(tmp_path / "cut.zip")
    assert "neither train/" in message(write_zip(tmp_path / "e.zip", {"a.txt": b"x"}))
    assert "neither train/" in message(write_zip(tmp_path / "none.zip", {}))
    two = {f"{top}/{name}": c for top in "ab" for name, c in small_set().items()}
    assert "several data sets, in 'a' and 'b'" in message(write_zip(tmp_path / "2.zip", two))


def test_a_flipped_byte_in_a_zip_is_found(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "d.zip", "w", zipfile.ZIP_STORED) as archive:
        for name, content in small_set().items():
            archive.writestr(name, content)
    damaged = bytearray((tmp_path / "d.zip").read_bytes())
    damaged[damaged.index(b"IDAT") + 8] ^= 1
    (tmp_path / "d.zip").write_bytes(damaged)
    assert "cannot be read (Bad CRC-32" in message(tmp_path / "d.zip")


def test_names_that_reach_outside_are_not_read_and_nothing_is_written(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    files = small_set() | {"../train/sad/up.png": encoded(grey(99))}
    faces, _ = read_source(write_zip(tmp_path / "in/evil.zip", files))
    assert len(faces) == 9
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["evil.zip", "in"]


def test_nothing_there_and_nothing_readable(tmp_path: Path) -> None:
    assert "no such file or folder" in message(tmp_path / "absent.csv")
    os.mkfifo(tmp_path / "pipe")
    assert "neither a file nor a folder" in message(tmp_path / "pipe")
    (tmp_path / "empty.csv").touch()
    assert "the file is empty" in message(tmp_path / "empty.csv")
    (tmp_path / "header.csv").write_text("emotion,pixels,Usage\n")
    assert "holds no images" in message(tmp_path / "header.csv")


def test_progress_ends_at_one_and_never_falls(tmp_path: Path) -> None:
    told: list[float] = []
    read_source(write_folder(tmp_path, small_set()), told.append)
    assert told[-1] == 1.0
    assert told == sorted(told)


def test_a_fault_of_the_program_is_not_called_a_damaged_zip(tmp_path: Path) -> None:
    def faulty(_: float) -> None:
        raise RuntimeError("a fault")

    with pytest.raises(RuntimeError, match="a fault"):
        read_source(write_folder(tmp_path, small_set()), faulty)
