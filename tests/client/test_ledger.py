"""The ledger against a fresh accountant, against itself in other processes, and against kill -9."""

import os
import signal
import sqlite3
import stat
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from fedward.client.ledger import Ledger
from fedward.client.ledger_check import verify
from fedward.client.ledger_entries import NO_ORDER, Request, ReserveRecord, SettleRecord
from fedward.client.ledger_page import read_standing
from fedward.client.policy import Policy, StudyShares
from fedward.common.errors import BudgetError, ConfigError, LedgerError, RunError
from fedward.common.privacy import GaussianEvent, epsilon_of

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)
PROCESS = Path(__file__).with_name("ledger_process.py")


def noon() -> datetime:
    return NOON


def steps(count: int, noise: float = 10.0, rate: float = 1.0) -> tuple[GaussianEvent, ...]:
    return (GaussianEvent(noise, rate, count),)


def ask(
    events: tuple[GaussianEvent, ...],
    *,
    study: str = "s",
    number: int = 0,
    patients: int = 500,
    order: str = NO_ORDER,
) -> Request:
    return Request(study, "run-1", number, "compact-cnn", "patient", patients, events, order=order)


def start(mode: str, path: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, PROCESS, mode, path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def tell(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("go\n")
    process.stdin.flush()


def killed_after(nursery: subprocess.Popen[str], seconds: float) -> list[GaussianEvent]:
    """Let a new process append, kill it; what it had let out until then."""
    assert nursery.stdout is not None
    tell(nursery)
    pid = int(nursery.stdout.readline())
    lines = [nursery.stdout.readline()]
    time.sleep(seconds)
    os.kill(pid, signal.SIGKILL)
    while lines[-1] != "dead\n":
        lines.append(nursery.stdout.readline())
    pairs = (line.split() for line in lines[:-1])
    return [GaussianEvent(float(noise), 1.0, int(count)) for noise, count in pairs]


def test_a_round_is_charged_before_and_settled_after(ledger: Ledger, path: Path) -> None:
    number = ledger.reserve(ask(steps(20)))
    before = read_standing(path)
    assert before.epsilon_spent == 0
    assert before.epsilon_reserved == epsilon_of(steps(20), delta=1e-4)
    ledger.settle(number, steps(12))
    after = read_standing(path)
    assert after.epsilon_spent == epsilon_of(steps(12), delta=1e-4)
    assert after.epsilon_reserved == 0
    assert (after.entries, after.epsilon_total, after.delta, after.unit) == (3, 3, 1e-4, "patient")
    (study,) = after.studies
    assert (study.study, study.rounds, study.refusals, study.last_run) == ("s", 1, 0, "run-1")


def test_sampled_and_full_batches_of_several_studies_compose(ledger: Ledger, path: Path) -> None:
    first = ledger.reserve(ask(steps(30, 1.2, 0.01)))
    second = ledger.reserve(ask(steps(5), study="t"))
    ledger.settle(first, steps(20, 1.2, 0.01))
    now = read_standing(path)
    everything = [GaussianEvent(1.2, 0.01, 20), GaussianEvent(10.0, 1.0, 5)]
    assert now.epsilon_spent + now.epsilon_reserved == epsilon_of(everything, delta=1e-4)
    assert [study.epsilon_reserved > 0 for study in now.studies] == [False, True]
    ledger.settle(second, ())
    assert read_standing(path).epsilon_spent == epsilon_of(everything[:1], delta=1e-4)


@pytest.mark.parametrize(
    ("asked", "reason", "cure"),
    [
        (ask(steps(1, 0.4)), "noise", "add noise"),
        (ask(steps(1), patients=99), "patients", "larger cohort"),
        (ask(steps(0)), "mechanism", "1 to 16"),
        (ask(()), "mechanism", "1 to 16"),
        (ask(steps(10**6 + 1, 1.0, 0.5)), "mechanism", "steps"),
        (ask(steps(10**6, 0.5, 0.5)), "total", "is left; ask for fewer steps"),
        (ask(steps(40, 3.0)), "total", "budget amend"),
        (ask(steps(40)), "study", "the share of study s"),
        (Request("s", "r", 0, "m", "image", 500, steps(1)), "unit", "by patient, not by image"),
    ],
)
def test_what_does_not_fit_is_refused_and_written_down(
    ledger: Ledger, path: Path, asked: Request, reason: str, cure: str
) -> None:
    with pytest.raises(BudgetError, match=cure) as caught:
        ledger.reserve(asked)
    assert caught.value.reason == reason
    assert "\n" not in str(caught.value)
    now = read_standing(path)
    assert (now.entries, now.epsilon_spent, now.epsilon_reserved) == (2, 0, 0)
    assert now.studies[0].refusals == 1


@pytest.mark.parametrize("days", [-124, 242])
def test_outside_its_period_nothing_is_reserved(
    ledger: Ledger, path: Path, key: Ed25519PrivateKey, days: int
) -> None:
    late = Ledger(path, key, clock=lambda: NOON + timedelta(days=days))
    with pytest.raises(BudgetError, match="valid from 2026-01-01 to 2026-12-31"):
        late.reserve(ask(steps(1)))
    on_the_edge = NOON + timedelta(days=days - 1 if days > 0 else days + 1)
    assert Ledger(path, key, clock=lambda: on_the_edge).reserve(ask(steps(1)))


def test_a_settlement_lies_between_released_and_reserved(ledger: Ledger, path: Path) -> None:
    number = ledger.reserve(ask(steps(10)))
    ledger.release(number, steps(4), sha256="ab" * 32, size=1234)
    for wrong, message in (
        (steps(11), "more is settled"),
        (steps(10, 9.0), "more is settled"),
        (steps(3), "less is settled"),
    ):
        with pytest.raises(BudgetError, match=message):
            ledger.settle(number, wrong)
    with pytest.raises(BudgetError, match="more is released"):
        ledger.release(number, steps(7), sha256="ab" * 32, size=1)
    assert read_standing(path).epsilon_reserved == epsilon_of(steps(10), delta=1e-4)
    ledger.settle(number, steps(4))
    with pytest.raises(BudgetError, match="is not open"):
        ledger.settle(number, steps(4))
    with pytest.raises(BudgetError, match="is not open"):
        ledger.release(number, steps(1), sha256="ab" * 32, size=1)


def test_a_refusal_of_the_client_is_written_down(ledger: Ledger, path: Path) -> None:
    ledger.refuse(ask(steps(1)), "the order names another model than the study")
    assert read_standing(path).studies[0].refusals == 1
    with pytest.raises(ConfigError, match="one line"):
        ledger.refuse(ask(steps(1)), "two\nlines")


def test_a_policy_can_be_amended_but_not_what_was_counted_with(
    ledger: Ledger, path: Path, key: Ed25519PrivateKey, policy: Policy
) -> None:
    ledger.settle(ledger.reserve(ask(steps(20))), steps(20))
    spent = read_standing(path).epsilon_spent
    less = {"epsilon_total": spent, "epsilon_per_study": StudyShares()}
    ledger.amend(policy.model_copy(update=less))
    with pytest.raises(BudgetError, match="epsilon_total is"):
        ledger.reserve(ask(steps(1)))
    ledger.amend(policy.model_copy(update={"epsilon_total": 4.0}))
    assert ledger.reserve(ask(steps(1)))
    for key_, value in (("unit", "image"), ("delta", 1e-5)):
        with pytest.raises(ConfigError, match=f"{key_} cannot change"):
            ledger.amend(policy.model_copy(update={key_: value}))
    assert verify(path, key.public_key()).epsilon_total == 4.0


def test_a_ledger_is_made_once_for_its_owner(
    ledger: Ledger, path: Path, key: Ed25519PrivateKey, policy: Policy
) -> None:
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with pytest.raises(RunError, match="holds a ledger already"):
        Ledger.create(path, key, policy, clock=noon)
    stranger = Ledger(path, Ed25519PrivateKey.generate(), clock=noon)
    with pytest.raises(LedgerError, match="not signed with this key"):
        stranger.reserve(ask(steps(1)))
    with pytest.raises(LedgerError, match="fedward budget init"):
        Ledger(path.with_name("absent.db"), key, clock=noon).reserve(ask(steps(1)))
    path.with_name("text.db").write_text("no ledger " * 1000, encoding="utf-8")
    with pytest.raises(LedgerError, match="restore it from a backup"):
        read_standing(path.with_name("text.db"))
    assert read_standing(path).entries == 1


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE entries SET record = x'00' WHERE number = 1",
        "DELETE FROM entries WHERE number = 1",
        "INSERT OR REPLACE INTO entries SELECT * FROM entries WHERE number = 1",
        "INSERT INTO entries SELECT number + 2, record, hash, signature FROM entries",
        "UPDATE entries SET number = 5",
    ],
)
def test_the_file_refuses_changes(ledger: Ledger, path: Path, statement: str) -> None:
    connection = sqlite3.connect(path)
    with pytest.raises(sqlite3.IntegrityError, match="entr"):
        connection.execute(statement)
    connection.close()
    assert ledger.reserve(ask(steps(1))) == 2


ACTIONS = st.lists(
    st.tuples(
        st.sampled_from(["reserve", "release", "settle", "crash"]),
        st.integers(0, 3),
        st.integers(0, 60),
        st.sampled_from([4.0, 10.0, 30.0]),
        st.sampled_from(["s", "t"]),
    ),
    max_size=25,
)


@settings(max_examples=25)
@given(ACTIONS)
def test_nothing_is_ever_spent_that_is_not_charged(
    actions: list[tuple[str, int, int, float, str]],
) -> None:
    key = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
    policy = Policy.model_validate(
        {
            "unit": "patient",
            "patients": 1000,
            "epsilon_total": 3.0,
            "epsilon_per_study": {"default": 2.0},
            "valid_from": "2026-01-01",
            "valid_until": "2026-12-31",
        }
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ledger.db"
        ledger = Ledger.create(path, key, policy, clock=noon)
        held: list[tuple[int, str]] = []
        out: list[tuple[str, GaussianEvent]] = []  # what truly left
        for action, which, count, noise, study in actions:
            events = steps(count, noise)
            try:
                if action == "reserve":
                    asked = ask(events, study=study, order=f"{which:064x}")  # 0: no order
                    held.append((ledger.reserve(asked), study))
                elif held:
                    number, owner = held[which % len(held)]
                    if action == "release":
                        ledger.release(number, events, sha256="0" * 64, size=count)
                        out.append((owner, *events))
                    elif action == "settle":
                        ledger.settle(number, events)
                    else:  # the process dies and forgets
                        held.remove((number, owner))
                        ledger = Ledger(path, key, clock=noon)
            except BudgetError:
                pass
            now = read_standing(path)
            charged = now.epsilon_spent + now.epsilon_reserved
            true = epsilon_of([event for _, event in out], delta=policy.delta)
            assert true <= charged * (1 + 1e-12) <= 3.0 * (1 + 1e-12)
            for one in now.studies:
                own = epsilon_of([e for owner, e in out if owner == one.study], delta=policy.delta)
                held_too = one.epsilon_spent + one.epsilon_reserved
                assert own <= held_too * (1 + 1e-12) <= 2.0 * (1 + 1e-12)
        assert verify(path, key.public_key()) == read_standing(path)


def test_an_order_that_comes_again_holds_one_reservation(ledger: Ledger, path: Path) -> None:
    first = ledger.reserve(ask(steps(5), order="a" * 64))
    assert ledger.reserve(ask(steps(5), order="a" * 64)) == first
    assert ledger.reserve(ask(steps(5), order="b" * 64)) != first
    assert ledger.reserve(ask(steps(5))) != ledger.reserve(ask(steps(5)))  # of no order
    ledger.release(first, steps(5), sha256="0" * 64, size=1)
    with pytest.raises(BudgetError, match="more is released"):
        ledger.release(first, steps(5), sha256="0" * 64, size=1)
    assert ledger.reserve(ask(steps(5), order="a" * 64)) != first
    assert ledger.has_released("0" * 64)
    assert not ledger.has_released("1" * 64)


def test_processes_at_the_same_time_cannot_overspend(
    ledger: Ledger, path: Path, key: Ed25519PrivateKey
) -> None:
    with ExitStack() as stack:
        racers = [stack.enter_context(start("race", path)) for _ in range(3)]
        for racer in racers:
            tell(racer)
        told = [racer.communicate(timeout=120)[0].split() for racer in racers]
    assert [racer.returncode for racer in racers] == [0, 0, 0]
    rounds = sum(int(count) for count, _ in told)
    assert {reason for _, reason in told} == {"study"}
    now = verify(path, key.public_key())
    assert now.epsilon_spent == epsilon_of(steps(2 * rounds), delta=1e-4)
    assert now.epsilon_reserved == 0
    assert now.studies[0].rounds == rounds
    assert now.epsilon_spent <= 2.0 < epsilon_of(steps(2 * rounds + 4), delta=1e-4)


def test_kill_9_loses_nothing_that_left(ledger: Ledger, path: Path, key: Ed25519PrivateKey) -> None:
    out: list[GaussianEvent] = []
    with start("nursery", path) as nursery:
        for attempt in range(20):
            out += killed_after(nursery, 0.002 * attempt)
            now = read_standing(path)
            true = epsilon_of(out, delta=1e-4)
            assert true <= (now.epsilon_spent + now.epsilon_reserved) * (1 + 1e-12)
        nursery.communicate(timeout=60)
    checked = verify(path, key.public_key())
    assert checked == read_standing(path)
    assert checked.studies[0].rounds >= len(out) >= 20
    assert ledger.reserve(ask(steps(1, 1000.0)))


def test_many_entries_are_shown_in_under_a_second(ledger: Ledger, path: Path) -> None:
    stamp = "2026-05-04T12:00:00Z"
    with ledger.page() as page:
        for number in range(5000):
            asked = ask(steps(1, 1e4), number=number)
            entry = page.add(ReserveRecord(time=stamp, request=asked))
            page.add(SettleRecord(time=stamp, reservation=entry, events=steps(1, 1e4)))
    began = time.perf_counter()
    now = read_standing(path)
    assert time.perf_counter() - began < 1
    assert now.entries == 10_001
    assert now.studies[0].rounds == 5000
