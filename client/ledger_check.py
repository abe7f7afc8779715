"""Is a ledger whole? Offline, from the file and the hospital's public key alone.

`verify` goes over every entry from the first: its number, its form, its hash, its signature, what
it may follow on, the conditions of the policy in force, and whether the budget was ever passed. A
cut tail, or a ledger written anew with the right key, only shows against an anchor: the last hash,
signed, given away earlier (to a notary, in an e-mail).
"""

import json
import math
from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Literal

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from pydantic import ValidationError

from fedward.client.budget import Standing, epsilon_at, standing
from fedward.client.ledger_entries import Events, Hex, Time, canonical, is_signed, sign, timestamp
from fedward.client.ledger_file import Totals, read_totals, reading, rows, version_of
from fedward.client.ledger_page import understood
from fedward.client.ledger_replay import Moment, Replayed, replay
from fedward.common.config import Count, Frozen
from fedward.common.errors import ConfigError, LedgerError
from fedward.common.privacy import GaussianEvent

# Another processor or library may compute the last digits of an epsilon differently.
TOLERANCE = 1e-6


class Anchor(Frozen):
    """The end of a ledger at some time, signed: what is kept where the hospital cannot reach."""

    kind: Literal["anchor"] = "anchor"
    version: Literal[1] = 1
    entries: Count
    hash: Hex
    time: Time
    signature: str = ""

    def signed_part(self) -> bytes:
        """What the signature is over: all but itself."""
        return canonical(self.model_copy(update={"signature": ""}))


def verify(path: Path, public_key: Ed25519PublicKey, anchor: Anchor | None = None) -> Standing:
    """Check a whole ledger; what it amounts to, computed from its entries.

    Raises:
        LedgerError: it is not whole; with the first entry that is wrong.
    """
    with reading(path) as connection:
        has_totals = version_of(connection, path) > 1
        done = replay(rows(connection), public_key)
        totals = read_totals(connection) if has_totals else None
    if anchor is not None:
        check_anchor(done.hashes, public_key, anchor)
    _check_budgets(done)
    now = standing(done.book, entries=done.entries)
    if has_totals:
        _check_totals(done, now, totals)
    return now


def make_anchor(path: Path, key: Ed25519PrivateKey, *, now: datetime) -> Anchor:
    """Sign the end of a ledger, after checking that all entries before it are whole.

    Raises:
        LedgerError: it is not whole, or not signed with this key.
    """
    with reading(path) as connection:
        version_of(connection, path)
        done = replay(rows(connection), key.public_key())
    return signed_anchor(entries=done.entries, digest=done.digest, key=key, now=now)


def signed_anchor(*, entries: int, digest: bytes, key: Ed25519PrivateKey, now: datetime) -> Anchor:
    """The anchor of a ledger with so many entries, of which the last has this hash."""
    anchor = Anchor(entries=entries, hash=digest.hex(), time=timestamp(now))
    return anchor.model_copy(update={"signature": sign(key, anchor.signed_part()).hex()})


def read_anchor(path: Path) -> Anchor:
    """An anchor from a file. Raises ConfigError when it is none."""
    try:
        return Anchor.model_validate(json.loads(path.read_bytes()))
    except OSError as error:
        raise ConfigError(f"cannot read the anchor {path}: {error.strerror}") from None
    except (ValueError, ValidationError):
        raise ConfigError(f"{path} is no anchor: give a file of `fedward budget anchor`") from None


def check_anchor(hashes: Sequence[bytes], public_key: Ed25519PublicKey, anchor: Anchor) -> None:
    """Raises LedgerError when a ledger with these hashes does not continue the anchored one."""
    try:
        signature = bytes.fromhex(anchor.signature)
    except ValueError:
        signature = b""
    if not is_signed(public_key, anchor.signed_part(), signature):
        raise LedgerError("the anchor is not signed with this key: ask for the one given away")
    if len(hashes) < anchor.entries:
        raise LedgerError(
            f"it is missing: {anchor.entries} entries were anchored on {anchor.time}, "
            f"{len(hashes)} are left",
            entry=len(hashes) + 1,
        )
    if hashes[anchor.entries - 1].hex() != anchor.hash:
        raise LedgerError(
            f"it, or one before it, is not the one that was anchored on {anchor.time}: the ledger "
            "was written anew",
            entry=anchor.entries,
        )


def envelope(moments: Iterable[Moment]) -> Events:
    """The least that no moment is above: of every mechanism the most steps in any of them."""
    steps: dict[tuple[float, float], int] = {}
    for moment in moments:
        for event in moment.events:
            key = (event.noise_multiplier, event.sample_rate)
            steps[key] = max(steps.get(key, 0), event.steps)
    return tuple(GaussianEvent(*key, count) for key, count in sorted(steps.items()))


def first_over(moments: Sequence[Moment]) -> Moment | None:
    """The first moment with more charged than its limit; all share limit and delta.

    More steps never have a smaller epsilon, so that of the envelope answers for all at once; only
    where it is too large the two halves are looked at by themselves.
    """
    if not moments:
        return None
    limit, delta = moments[0].limit * (1 + TOLERANCE), moments[0].delta
    if epsilon_at(envelope(moments), delta) <= limit:
        return None
    if len(moments) == 1:
        return moments[0]
    half = len(moments) // 2
    return first_over(moments[:half]) or first_over(moments[half:])


def _check_budgets(done: Replayed) -> None:
    passed: list[tuple[int, str]] = []
    for study, moments in done.moments.items():
        for limit in {moment.limit for moment in moments}:
            over = first_over([moment for moment in moments if moment.limit == limit])
            if over is not None:
                whose = "the total" if study is None else f"the share of study {study}"
                passed.append((over.entry, f"it passes {whose}, epsilon {limit:g}"))
    if passed:
        entry, message = min(passed)
        raise LedgerError(message, entry=entry)


def _check_totals(done: Replayed, now: Standing, totals: Totals | None) -> None:
    """The totals are no more than a shortcut; wrong ones would let too much through."""
    if totals is None or (totals.entries, totals.digest) != (done.entries, done.digest):
        raise LedgerError("the totals are not those of the last entry", entry=done.entries)
    book, told = understood(totals)
    if book != done.book or not _close(told, now):
        raise LedgerError("the totals are not what the entries add up to", entry=done.entries)


def _close(told: Standing, now: Standing) -> bool:
    """Whether two standings are the same up to the last digits of their epsilons."""
    pairs = zip((told, *told.studies), (now, *now.studies), strict=False)
    same = len(told.studies) == len(now.studies)
    for one, other in pairs:
        for key, value in other.model_dump(exclude={"studies"}).items():
            here = getattr(one, key, None)
            if isinstance(value, float) and isinstance(here, float):
                same &= math.isclose(here, value, rel_tol=TOLERANCE, abs_tol=TOLERANCE)
            else:
                same &= here == value
    return same
