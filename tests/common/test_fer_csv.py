import gzip
import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedward.common.errors import DataError
from fedward.common.fer_csv import LONGEST_LINE, read_csv
from fedward.common.raw_faces import RawFace

HEADER = "emotion,pixels,Usage\n"
GREY = " ".join(str(value % 256) for value in range(2304))
ROW = f"3,{GREY},Training\n"


def read(text: str | bytes) -> list[RawFace]:
    content = text.encode() if isinstance(text, str) else text
    return list(read_csv(io.BytesIO(content), "f.csv"))


def message(text: str | bytes) -> str:
    with pytest.raises(DataError) as caught:
        read(text)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_row_becomes_a_face() -> None:
    (face,) = read(HEADER + ROW)
    assert face.label == 3
    assert face.split == 0
    assert face.pixels == bytes(value % 256 for value in range(2304))


def test_every_split_by_its_code() -> None:
    rows = [f"{code},{GREY},{usage}\n" for code, usage in ((0, "Training"), (6, "PublicTest"))]
    faces = read(HEADER + "".join(rows) + f"2,{GREY},PrivateTest\n")
    assert [(face.label, face.split) for face in faces] == [(0, 0), (6, 1), (2, 2)]


def test_gzip_reads_as_plain() -> None:
    assert read(gzip.compress((HEADER + ROW).encode())) == read(HEADER + ROW)


def test_columns_go_by_name_and_quotes_bom_crlf_and_blank_lines_do_no_harm() -> None:
    text = f'\ufeffemotion, Usage, pixels, note\r\n"4", PrivateTest, "{GREY}", x\r\n\r\n'
    (face,) = read(text)
    assert (face.label, face.split) == (4, 2)


@given(st.binary(min_size=48, max_size=48), st.integers(0, 6))
def test_what_is_written_is_read(line: bytes, label: int) -> None:
    levels = line * 48
    (face,) = read(f"{HEADER}{label},{' '.join(map(str, levels))},Training\n")
    assert face == RawFace(label, 0, levels)


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (f"3,{GREY.rsplit(' ', 1)[0]},Training", "2,303 grey levels, not 2,304"),
        (f"3,{GREY} 7,Training", "2,305 grey levels"),
        (f"3,256 {GREY.split(' ', 1)[1]},Training", "grey level 1 is '256'"),
        (f"3,{GREY.rsplit(' ', 1)[0]} a,Training", "grey level 2304 is 'a'"),
        (f"3,-1 {GREY.split(' ', 1)[1]},Training", "grey level 1 is '-1'"),
        (f"3,1.5 {GREY.split(' ', 1)[1]},Training", "grey level 1 is '1.5'"),
        (f"7,{GREY},Training", "emotion '7' is not one of 0 to 6"),
        (f"happy,{GREY},Training", "emotion 'happy'"),
        (f"3,{GREY},Validation", "Usage 'Validation' is not one of Training, PublicTest"),
        (f"3,{GREY}", "has 2 columns"),
        (f"3,{'9' * 60},Training", "1 grey levels"),
    ],
)
def test_a_bad_row_is_named_with_what_is_wrong(row: str, reason: str) -> None:
    text = message(HEADER + ROW + row + "\n" + ROW)
    assert text.startswith("f.csv, row 3 (the header is row 1): ")
    assert reason in text
    assert "correct or remove the row" in text


def test_a_truncated_gzip_says_where_it_ends() -> None:
    rng = np.random.default_rng(0)
    rows = [f"3,{' '.join(map(str, rng.integers(0, 256, 2304)))},Training\n" for _ in range(30)]
    whole = gzip.compress((HEADER + "".join(rows)).encode())
    assert "damaged or truncated after row" in message(whole[: len(whole) // 2])
    assert "download it again" in message(whole[:-4])


def test_a_gzip_with_a_flipped_bit_is_damaged() -> None:
    whole = bytearray(gzip.compress((HEADER + ROW * 20).encode()))
    whole[-6] ^= 1  # in the checksum
    assert "damaged or truncated" in message(bytes(whole))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "the file is empty"),
        (gzip.compress(b""), "the file is empty"),
        ("a,b\n1,2\n", "not a FER-2013 table"),
        (bytes(range(256)) * 4, "not a FER-2013 table"),
        (f"emotion,pixels\n3,{GREY}\n", "the column Usage is missing"),
        (HEADER + "1" * (LONGEST_LINE + 5), "a line of more than 65,536 bytes"),
        (HEADER + '3,"' + ROW * 20, "field larger than field limit"),
    ],
)
def test_what_is_no_table_says_so(text: str | bytes, reason: str) -> None:
    assert reason in message(text)
    assert message(text).startswith("f.csv")


def test_the_first_faces_come_before_the_rest_is_read() -> None:
    rows = read_csv(io.BytesIO((HEADER + ROW + "nonsense\n").encode()), "f.csv")
    assert next(rows).label == 3
    with pytest.raises(DataError, match="row 3"):
        next(rows)
