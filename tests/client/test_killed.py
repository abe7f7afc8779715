"""kill -9 at random moments of real private training: nothing that left is ever missing."""

import os
import random
import signal
import subprocess
import sys
import time
from datetime import UTC, date, datetime
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fedward.client.ledger import Ledger
from fedward.client.ledger_check import verify
from fedward.client.ledger_entries import ReleaseRecord, ReserveRecord, SettleRecord
from fedward.client.ledger_page import last_records, read_standing
from fedward.client.policy import Policy
from fedward.common.privacy import GaussianEvent, epsilon_of

PROCESS = Path(__file__).with_name("training_process.py")
KILLS = int(os.environ.get("FEDWARD_KILLS", "200"))
LONGEST_S = 0.2
NOISE = 200.0
DELTA = 1e-3


def noon() -> datetime:
    return datetime(2026, 5, 4, 12, tzinfo=UTC)


def killed_after(nursery: subprocess.Popen[str], seconds: float) -> list[str]:
    """Let a hospital train, kill it, and tell what had left until then."""
    assert nursery.stdin is not None
    assert nursery.stdout is not None
    nursery.stdin.write("go\n")
    nursery.stdin.flush()
    pid = int(nursery.stdout.readline())
    time.sleep(seconds)
    os.kill(pid, signal.SIGKILL)
    lines = [nursery.stdout.readline()]
    while lines[-1] != "dead\n":
        lines.append(nursery.stdout.readline())
    return [line.strip() for line in lines[:-1]]


def test_200_kills_leave_no_update_uncharged_and_no_ledger_unreadable(
    tmp_path: Path, key: Ed25519PrivateKey
) -> None:
    path = tmp_path / "ledger.db"
    policy = Policy(
        unit="image",
        patients=8,
        delta=DELTA,
        epsilon_total=50.0,
        valid_from=date(2026, 1, 1),
        valid_until=date(2026, 12, 31),
    )
    Ledger.create(path, key, policy, clock=noon)
    moments = random.Random(4)
    left: list[str] = []
    with subprocess.Popen(
        [sys.executable, PROCESS, tmp_path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as nursery:
        for _ in range(KILLS):
            left += killed_after(nursery, moments.uniform(0, LONGEST_S))
            now = read_standing(path)
            true = epsilon_of([GaussianEvent(NOISE, 1.0, len(left))], delta=DELTA)
            assert true <= (now.epsilon_spent + now.epsilon_reserved) * (1 + 1e-12)
        nursery.communicate(timeout=60)
    records = last_records(path, 10**6)
    released = {record.sha256 for record in records if isinstance(record, ReleaseRecord)}
    assert len(left) > KILLS / 4
    assert len(set(left)) == len(left)
    assert set(left) <= released
    reserved = sum(isinstance(record, ReserveRecord) for record in records)
    settled = sum(isinstance(record, SettleRecord) for record in records)
    assert settled < reserved  # some died in between, and stay charged
    assert verify(path, key.public_key()) == read_standing(path)
