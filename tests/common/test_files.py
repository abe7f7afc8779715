"""Files are whole or absent."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from fedward.common.errors import RunError
from fedward.common.files import write_text, writing


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[Path]:
    """A tmpfs of 64 kB, where the system lets us mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("mounting a tmpfs is not allowed here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    write_text(target, "old")

    def fail() -> None:
        with writing(target) as temporary:
            temporary.write_text("half")
            raise ValueError

    with pytest.raises(ValueError):  # noqa: PT011
        fail()
    assert target.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


def test_a_full_disk_is_one_line_and_leaves_the_old_file(full_disk: Path) -> None:
    target = full_disk / "a.txt"
    write_text(target, "old")
    with pytest.raises(RunError, match=r"a\.txt: the disk is full"):
        write_text(target, "x" * 200_000)
    assert target.read_text() == "old"
    assert [path.name for path in full_disk.iterdir()] == ["a.txt"]


def test_the_cure_of_a_full_disk_is_the_caller_s(full_disk: Path) -> None:
    def fill() -> None:
        target = full_disk / "a.npy"
        with writing(target, cure="free 1 MB") as temporary, temporary.open("wb") as file:
            np.save(file, np.zeros(100_000, np.uint8))  # fails without an errno

    with pytest.raises(RunError, match=r"a\.npy: the disk is full; free 1 MB$"):
        fill()


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match=r"file/a\.txt"):
        write_text(tmp_path / "file" / "a.txt", "x")
