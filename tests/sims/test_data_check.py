import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from fedward.common.errors import DataError, RunError
from fedward.common.face_store import open_faces
from fedward.common.faces import EMOTIONS, FaceData
from fedward.sims.data_check import DataReport, contact_sheet, inspect, render


def write_table(path: Path, faces: list[tuple[int, int, str]]) -> Path:
    rows = [f"{emotion},{pattern}{' 0' * 2303},{usage}\n" for pattern, emotion, usage in faces]
    path.write_text("emotion,pixels,Usage\n" + "".join(rows))
    return path


@pytest.fixture
def source(tmp_path: Path) -> Path:
    faces = [(10 + code, code, "Training") for code in range(7)]
    faces += [(10, 0, "Training"), (40, 2, "Training"), (0, 3, "Training")]
    faces += [(60, 3, "Training"), (60, 4, "Training")]
    faces += [(40, 2, "PublicTest"), (50, 0, "PublicTest"), (50, 0, "PrivateTest")]
    faces += [(51, 5, "PrivateTest"), (51, 6, "PrivateTest"), (0, 6, "PrivateTest")]
    return write_table(tmp_path / "faces.csv", faces)


@pytest.fixture
def report(source: Path, tmp_path: Path) -> DataReport:
    return inspect(source, cache=tmp_path / "cache")


def test_counts_before_and_after_by_hand(report: DataReport) -> None:
    training = report.splits["Training"]
    assert list(training.published.values()) == [2, 1, 2, 3, 2, 1, 1]
    assert list(training.used.values()) == [1, 1, 1, 1, 1, 1, 1]
    assert training.left_out == {"duplicate": 2, "conflict": 2, "blank": 1}
    assert (training.surplus_copies, training.blank) == (2, 1)
    public = report.splits["PublicTest"]
    assert sum(public.published.values()) == 2
    assert public.left_out == {"duplicate": 1, "conflict": 0, "blank": 0}
    private = report.splits["PrivateTest"]
    assert private.published == private.used
    assert (private.surplus_copies, private.blank) == (1, 1)


def test_groups_within_and_across_splits_by_hand(report: DataReport) -> None:
    assert report.images == 18
    assert report.duplicate_groups == 6  # patterns 0, 10, 40, 50, 51, 60
    assert report.conflicting_groups == 3  # 0, 51, 60
    assert report.shared == {
        "Training and PublicTest": 1,
        "Training and PrivateTest": 1,
        "PublicTest and PrivateTest": 1,
    }
    totals = report.duplicates_removed, report.conflicting_labels, report.blank_removed
    assert totals == (3, 2, 1)


def test_the_report_agrees_with_what_is_opened(
    report: DataReport, source: Path, tmp_path: Path
) -> None:
    data = open_faces(source, cache=tmp_path / "cache")
    assert list(report.splits["Training"].used.values()) == data.training.label_counts()
    for split, faces in data.tests.items():
        assert list(report.splits[split].used.values()) == faces.label_counts()
    assert report.sha256 == data.sha256


def test_the_report_survives_json_and_is_frozen(report: DataReport) -> None:
    assert DataReport.model_validate(json.loads(report.model_dump_json())) == report
    with pytest.raises(ValueError, match="frozen"):
        setattr(report, "images", 3)  # noqa: B010 - an assignment would not pass the type check


def test_the_table_shows_every_emotion_and_reason(report: DataReport) -> None:
    console = Console(width=120)
    with console.capture() as captured:
        console.print(render(report))
    text = captured.get()
    for word in (*EMOTIONS, "PrivateTest", "1 of 2", "left out: conflict", "faces.csv"):
        assert word in text
    assert "left out: 3 duplicates, 2 with conflicting labels, 1 blank" in text


def test_a_set_without_training_can_be_inspected(tmp_path: Path) -> None:
    source = write_table(tmp_path / "t.csv", [(1, 3, "PrivateTest")])
    report = inspect(source, cache=tmp_path / "cache")
    assert list(report.splits) == ["PrivateTest"]
    assert report.shared == {}
    assert report.duplicate_groups == 0


def test_a_bad_source_is_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file or folder"):
        inspect(tmp_path / "absent", cache=tmp_path)


def opened(source: Path, tmp_path: Path) -> FaceData:
    return open_faces(source, cache=tmp_path / "cache", training_required=False)


def test_the_contact_sheet_has_a_row_per_emotion(source: Path, tmp_path: Path) -> None:
    path = tmp_path / "new" / "sheet.png"
    contact_sheet(opened(source, tmp_path), path)
    with Image.open(path) as image:
        sheet = np.asarray(image)
    height = sheet.shape[0] // 7
    for row in range(7):  # every face here is black but for one pixel
        assert (sheet[row * height : (row + 1) * height, 92:188] < 20).sum() > 48 * 48 * 3
        assert (sheet[row * height : (row + 1) * height, :92] < 128).any()
    assert [file.name for file in path.parent.iterdir()] == ["sheet.png"]


def test_the_contact_sheet_of_a_test_set(tmp_path: Path) -> None:
    source = write_table(tmp_path / "t.csv", [(1, 3, "PrivateTest")])
    contact_sheet(opened(source, tmp_path), tmp_path / "sheet.png")
    assert (tmp_path / "sheet.png").stat().st_size > 100


def test_a_sheet_that_cannot_be_written_is_one_line(source: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match=r"cannot write .*sheet\.png"):
        contact_sheet(opened(source, tmp_path), tmp_path / "file" / "sheet.png")
