"""Records have one form, and requests that nobody could make are refused."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedward.client.ledger_entries import (
    GENESIS,
    Record,
    Request,
    ReserveRecord,
    SettleRecord,
    canonical,
    chained,
    read_record,
)
from fedward.common.errors import ConfigError, LedgerError
from fedward.common.privacy import GaussianEvent

TIME = "2026-05-04T12:00:00Z"
FLOATS = st.floats(0, 1e300, exclude_min=True)
EVENTS = st.lists(
    st.builds(GaussianEvent, FLOATS, st.floats(0, 1, exclude_min=True), st.integers(0, 10**9))
)


def reserve(**changed: object) -> ReserveRecord:
    asked: dict[str, object] = {
        "study": "s",
        "run": "r",
        "round": 0,
        "model": "m",
        "unit": "patient",
        "patients": 500,
        "events": (GaussianEvent(1.0, 0.5, 3),),
    }
    return ReserveRecord(time=TIME, request=Request(**{**asked, **changed}))  # type: ignore[arg-type]


@given(EVENTS)
def test_a_record_survives_its_bytes(events: list[GaussianEvent]) -> None:
    record: Record
    for record in (
        reserve(events=tuple(events)),
        SettleRecord(time=TIME, reservation=3, events=tuple(events)),
    ):
        content = canonical(record)
        assert read_record(content, entry=1) == record
        assert content.isascii()


def test_the_form_is_pinned() -> None:
    assert canonical(reserve()) == (
        b'{"kind":"reserve","request":{"epochs":1,"events":[{"noise_multiplier":1.0,'
        b'"sample_rate":0.5,"steps":3}],"leaves":"update","model":"m",'
        b'"order":"0000000000000000000000000000000000000000000000000000000000000000",'
        b'"patients":500,"randomness":"secure","round":0,"run":"r","study":"s","unit":"patient"},'
        b'"time":"2026-05-04T12:00:00Z","version":1}'
    )
    # (head -c 32 /dev/zero; printf x) | sha256sum
    assert chained(GENESIS, b"x").hex() == (
        "fdded6faced1af47fdaaac589602f58e0e040a882627806c42ddcc38da604cf0"
    )


@pytest.mark.parametrize(
    "change",
    [
        (b'"steps":3', b'"steps":3.0'),
        (b'"steps":3', b'"steps":"3"'),
        (b'"steps":3', b'"steps": 3'),
        (b'"steps":3', b'"steps":3,"steps":3'),
        (b'"steps":3', b'"steps":3,"more":1'),
        (b'"steps":3', b'"steps":-3'),
        (b"0.5", b"5e-1"),
        (b"1.0", b"1"),
        (b"1.0", b"NaN"),
        (b'"run":"r"', b'"run":"\\u0072"'),
        (b'"kind":"reserve"', b'"kind":"gift"'),
        (b'{"kind"', b'["kind"'),
    ],
)
def test_other_forms_are_refused(change: tuple[bytes, bytes]) -> None:
    content = canonical(reserve())
    assert change[0] in content
    with pytest.raises(LedgerError, match="entry 7: its record"):
        read_record(content.replace(*change, 1), entry=7)


def test_a_newer_record_asks_for_a_newer_fedward() -> None:
    document = json.loads(canonical(reserve())) | {"version": 2, "kind": "unheard-of"}
    with pytest.raises(LedgerError, match=r"entry 4: .*install a newer Fedward"):
        read_record(canonical(document), entry=4)


@pytest.mark.parametrize(
    "change",
    [
        {"study": ""},
        {"study": "x" * 101},
        {"run": "a\n"},
        {"model": "é"},
        {"run": "-x"},
        {"round": -1},
        {"patients": 0},
    ],
)
def test_names_and_numbers_are_plain(change: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        reserve(**change)
