"""The budgets of a simulated run: in RUN/ledgers, of every hospital NAME.db, NAME.key, NAME.pem and
NAME.egress.jsonl. In a real consortium nobody has all of them."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from fedward.client.budget_reporting import Sources
from fedward.client.keys import public_path
from fedward.common.errors import ConfigError


class Kept(NamedTuple):
    """What a run keeps of one hospital."""

    sources: Sources
    key: Path
    public_key: Path


def budgets_of_run(run: Path, *, consents: Path | None, audit: Path | None) -> list[Kept]:
    """What a run keeps of its hospitals, by name; consents and audit are the same for all.

    Raises:
        ConfigError: it keeps no ledger, or one without its key.
    """
    kept = list(_kept(run / "ledgers", consents, audit))
    if not kept:
        raise ConfigError(
            f"{run} has no ledgers/NAME.db: name a run that keeps budgets, or a ledger"
        )
    return kept


def _kept(folder: Path, consents: Path | None, audit: Path | None) -> Iterator[Kept]:
    for ledger in sorted(folder.glob("*.db")):
        key = ledger.with_suffix(".key")
        if not key.exists() or not public_path(key).exists():
            raise ConfigError(f"{ledger} has no {key.name} and {public_path(key).name} beside it")
        egress = ledger.with_suffix(".egress.jsonl")
        known = egress if egress.exists() else None
        yield Kept(Sources(ledger.stem, ledger, consents, known, audit), key, public_path(key))
