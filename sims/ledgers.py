"""The privacy budgets of simulated hospitals, in RUN/ledgers: what every real hospital keeps.

    NAME.db              the ledger (client/ledger.py)
    NAME.key, NAME.pem   the hospital's keys, made for this ledger
    NAME.egress.jsonl    everything that left (client/egress.py)
    NAME.outbox          the last answer

A hospital's budget is what the study plans to spend, or what ``hospitals.budgets`` says. Ledgers
that are there already go on: so a second study meets what the first one left.

RUN/consents holds NAME.csv for every hospital, where policies ask for consents.
"""

import math
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import UTC, date, datetime
from pathlib import Path

from fedward.client.consent import read_consents
from fedward.client.guard import Guard
from fedward.client.keys import create_key, load_key
from fedward.client.ledger import Ledger
from fedward.client.ledger_entries import NO_ORDER, Request
from fedward.client.ledger_file import connected
from fedward.client.policy import LEAST_NOISE, Policy
from fedward.common.config import Study
from fedward.common.errors import ConfigError, RunError
from fedward.common.noise import plan_noise
from fedward.common.privacy import GaussianEvent
from fedward.sims.template import RUN_VARIABLE

LEDGERS, CONSENTS = "ledgers", "consents"
_FROM, _UNTIL = date(2000, 1, 1), date(2999, 12, 31)
_ROUNDING = 1e6


def create_ledgers(study: Study, sizes: Mapping[str, int], run: Path) -> None:
    """Give every hospital a ledger that has none; without privacy there is nothing to keep.

    Args:
        study: what the hospitals take part in.
        sizes: their public sizes, in units of privacy, by name.
        run: the run directory.

    Raises:
        ConfigError: a budget names no hospital, or a list of consents cannot be used.
        RunError: the folder cannot be written.
    """
    if unknown := sorted(dict(study.hospitals.budgets).keys() - sizes.keys()):
        raise ConfigError(
            f"hospitals.budgets names {unknown[0]}, which does not exist: hospitals are "
            f"{min(sizes)} to {max(sizes)}"
        )
    if study.privacy is None:
        return
    for name, size in sizes.items():
        path = run / LEDGERS / f"{name}.db"
        if study.hospitals.consent != "none":
            read_consents(run / CONSENTS / f"{name}.csv")
        if not path.exists():
            key = path.with_suffix(".key")
            private = load_key(key) if key.exists() else create_key(key)
            Ledger.create(path, private, simulated_policy(study, name, size), clock=_now)


@contextmanager
def kept_open(run: Path) -> Iterator[None]:
    """Hold all ledgers of a run open, so that none is tidied up after every order."""
    with ExitStack() as stack:
        for path in sorted((run / LEDGERS).glob("*.db")):
            stack.enter_context(connected(path))
        yield


def rehearse_charge() -> None:
    """Charge a ledger that is thrown away, so that processes forked afterwards have everything
    loaded."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ledger.db"
        policy = Policy(
            unit="image",
            patients=1,
            delta=1e-5,
            epsilon_total=1.0,
            valid_from=_FROM,
            valid_until=_UNTIL,
        )
        ledger = Ledger.create(path, create_key(path.with_suffix(".key")), policy, clock=_now)
        with ledger.kept_open():
            events = (GaussianEvent(1e4),)
            request = Request("rehearsal", "none", 0, "none", "image", 1, events)
            ledger.conclude(ledger.reserve(request), events, sha256=NO_ORDER, size=0)


def simulated_policy(study: Study, name: str, size: int) -> Policy:
    """A policy that lets the hospital take part in this study to its end, and no further."""
    privacy, plan = study.privacy, plan_noise(study, size)
    assert privacy is not None
    assert plan is not None
    delta = privacy.delta_at(size)
    planned = plan.epsilon(list(range(1, study.rounds.count + 1)), delta=delta, measured=True)
    rounded_up = math.ceil(planned * _ROUNDING + 1e-3) / _ROUNDING
    return Policy(
        unit=privacy.unit,
        patients=size,
        delta=delta,
        epsilon_total=dict(study.hospitals.budgets).get(name, rounded_up),
        minimum_noise_multiplier=LEAST_NOISE,
        may_leave=("update", "statistics", "metrics"),
        maximum_epochs=study.training.epochs,
        consent=study.hospitals.consent,
        valid_from=_FROM,
        valid_until=_UNTIL,
    )


def guard_of(name: str) -> Guard:
    """What guards a simulated hospital of the run of this process.

    Raises:
        ConfigError: there is no run, or no key in it; nothing is trained that is not charged.
    """
    run = os.environ.get(RUN_VARIABLE)
    if not run:
        raise ConfigError(f"private training needs a ledger: {RUN_VARIABLE} names no run directory")
    path = Path(run) / LEDGERS / f"{name}.db"
    return Guard(
        ledger=Ledger(path, load_key(path.with_suffix(".key")), clock=_now),
        egress=path.with_suffix(".egress.jsonl"),
        outbox=path.with_suffix(".outbox"),
        consents=Path(run) / CONSENTS / f"{name}.csv",
        clock=_now,
    )


def check_folders(study: Study, *, ledgers: Path | None, consents: Path | None) -> Study:
    """The study as it is run with these folders: with lists of consents, policies ask for them.

    Raises:
        ConfigError: a folder is not there, or one is needed or useless.
    """
    asks = study.hospitals.consent != "none"
    for folder, what in ((ledgers, "ledgers"), (consents, "consents")):
        if folder is not None and not folder.is_dir():
            raise ConfigError(f"{folder} is no folder: give one with {what} by hospital")
        if folder is not None and study.privacy is None:
            raise ConfigError(f"--{what} is for studies with a privacy budget: add --epsilon")
    if asks and consents is None:
        raise ConfigError("hospitals.consent asks for lists: give their folder with --consents")
    if consents is None or asks:
        return study
    hospitals = study.hospitals.model_copy(update={"consent": "opt-out"})
    return study.model_copy(update={"hospitals": hospitals})


def bring_along(run: Path, *, ledgers: Path | None, consents: Path | None) -> None:
    """Let a new run go on with ledgers of an earlier one, and use lists of consents.

    Ledgers are linked, since a copy would forget what this run spends. Lists are copied into the
    run, where they can be changed from round to round.

    Raises:
        RunError: the run directory cannot be written.
    """
    try:
        if ledgers is not None:
            (run / LEDGERS).symlink_to(ledgers.resolve(), target_is_directory=True)
        if consents is not None:
            shutil.copytree(consents, run / CONSENTS)
    except OSError as error:
        raise RunError(f"cannot write {run}: {error.strerror}") from None


def _now() -> datetime:
    return datetime.now(UTC)
