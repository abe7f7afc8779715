"""Has everything that left been paid for? The list of what left against the ledger. Pure."""

from collections.abc import Iterable
from typing import get_args

from fedward.client.budget_report import EgressKind, EgressPart, Unaccounted
from fedward.client.egress import Departure
from fedward.client.ledger_entries import ReleaseRecord

KINDS: tuple[str, ...] = get_args(Departure.model_fields["kind"].annotation)


def compare(departures: Iterable[Departure], releases: Iterable[ReleaseRecord]) -> EgressPart:
    """Totals by kind of reply, updates that no release knows, and releases that did not leave.

    An update is known by the SHA-256 and the size of its bytes. The same bytes may leave more than
    once: that tells nobody anything new.
    """
    known = {(one.sha256, one.size) for one in releases}
    lines = list(departures)
    updates = [line for line in lines if line.kind == "update"]
    left = {(line.sha256, line.size) for line in updates}
    return EgressPart(
        kinds=tuple(_kind(name, [line for line in lines if line.kind == name]) for name in KINDS),
        unaccounted=tuple(
            Unaccounted(
                time=line.time,
                study=line.study,
                run=line.run,
                round=line.round,
                size=line.size,
                sha256=line.sha256,
            )
            for line in updates
            if (line.sha256, line.size) not in known
        ),
        unsent=len(known - left),
    )


def _kind(name: str, lines: list[Departure]) -> EgressKind:
    return EgressKind(kind=name, messages=len(lines), bytes=sum(line.size for line in lines))
