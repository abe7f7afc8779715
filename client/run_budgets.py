"""The budgets of a simulated run: in RUN/ledgers, of every hospital NAME.db, NAME.key, NAME.pem and
NAME.egress.jsonl, and perhaps RUN/consents/NAME.csv. In a real consortium nobody has them all."""

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
    """What a run keeps of its hospitals, by name.

    Args:
        run: the run directory.
        consents: a list for all hospitals, instead of each one's own.
        audit: the file of an audit, for all.

    Raises:
        ConfigError: it keeps no ledger, or one without its key.
    """
    kept = list(_kept(run, consents, audit))
    if not kept:
        raise ConfigError(
            f"{run} has no ledgers/NAME.db: name a run that keeps budgets, or a ledger"
        )
    return kept


def _kept(run: Path, consents: Path | None, audit: Path | None) -> Iterator[Kept]:
    for ledger in sorted((run / "ledgers").glob("*.db")):
        key = ledger.with_suffix(".key")
        if not key.exists() or not public_path(key).exists():
            raise ConfigError(f"{ledger} has no {key.name} and {public_path(key).name} beside it")
        listed = consents or _there(run / "consents" / f"{ledger.stem}.csv")
        egress = _there(ledger.with_suffix(".egress.jsonl"))
        yield Kept(Sources(ledger.stem, ledger, listed, egress, audit), key, public_path(key))


def _there(path: Path) -> Path | None:
    return path if path.exists() else None
