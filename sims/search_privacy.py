"""What choosing settings costs in privacy: all runs of a search together, for one Training record.

A run's own epsilon covers that run alone. Whoever sees several runs on the same faces, or a choice
that was made by looking at them, sees all of their mechanisms; these compose. An image, and a
patient, is at one hospital in every run, and the same seed deals the same to the same hospitals: so
the runs of a seed are composed hospital by hospital, exactly. Between seeds nobody knows which
hospitals come together in one record: where hospitals differ, the epsilons of the seeds are added
(basic composition, Dwork and Roth 2014, theorem 3.16); where they do not, all is composed exactly.
"""

import math
from collections.abc import Sequence

from fedward.common.config import HospitalsConfig
from fedward.common.errors import ConfigError
from fedward.common.noise import plan_noise
from fedward.common.privacy import GaussianEvent, accountant_name, epsilon_of
from fedward.common.result import HospitalPart
from fedward.sims.chronicle import asked
from fedward.sims.partition import declared_size
from fedward.sims.search_table import Finished, SearchPrivacy

Events = tuple[GaussianEvent, ...]


def privacy_of(runs: Sequence[Finished]) -> SearchPrivacy | None:
    """What all runs reveal together; None when one of them was made without privacy."""
    settings = [run.study.privacy for run in runs]
    private = [privacy for privacy in settings if privacy is not None]
    if len(private) < len(settings):
        return None
    delta = min(_delta_of(run) for run in runs)
    alone = {events for run in runs for events in _at_hospitals([run])}
    dealings = [_at_hospitals(part) for part in _by_dealing(runs)]
    together = epsilon_together(dealings, delta=delta)
    added = not _exact(dealings) and len(dealings) > 1
    everything = [event for some in dealings for events in some for event in events]
    return SearchPrivacy(
        unit=private[0].unit,
        delta=delta,
        epsilon_one_run=epsilon_together([alone], delta=delta),
        epsilon_all_runs=together if math.isfinite(together) else None,
        accountant=accountant_name(everything) + (", added over seeds" if added else ""),
    )


def _delta_of(run: Finished) -> float:
    """What its study states, or the smallest that a hospital took."""
    stated = run.study.privacy.delta if run.study.privacy else None
    if stated is not None:
        return stated
    return min(one.delta for one in run.result.hospitals if one.delta is not None)


def epsilon_together(dealings: Sequence[set[Events]], *, delta: float) -> float:
    """Epsilon of everything that may have been computed from one record, at this delta.

    Args:
        dealings: for every way in which records were dealt, the different sequences of mechanisms
            that hospitals ran; a record was in one of each.
        delta: of (epsilon, delta).

    Returns:
        An upper bound; infinite where none can be claimed.
    """
    try:
        if _exact(dealings):
            return epsilon_of([event for (only,) in dealings for event in only], delta=delta)
        share = delta / len(dealings)
        return sum(max(epsilon_of(events, delta=share) for events in some) for some in dealings)
    except ConfigError:
        return math.inf


def _exact(dealings: Sequence[set[Events]]) -> bool:
    """Whether every record was in the same mechanisms, whatever its hospitals."""
    return all(len(some) == 1 for some in dealings)


def _by_dealing(runs: Sequence[Finished]) -> list[list[Finished]]:
    """Runs that dealt the same images to the same hospitals."""
    parts: dict[tuple[int, HospitalsConfig], list[Finished]] = {}
    for run in runs:
        parts.setdefault((run.study.seed, run.study.hospitals), []).append(run)
    return list(parts.values())


def _at_hospitals(runs: Sequence[Finished]) -> set[Events]:
    """The different sequences of mechanisms that hospitals ran in these runs of one dealing."""
    names = [hospital.name for hospital in runs[0].result.hospitals]
    return {
        tuple(
            event
            for run in runs
            for hospital in run.result.hospitals
            if hospital.name == name
            for event in events_of(run, hospital)
        )
        for name in names
    }


def events_of(run: Finished, hospital: HospitalPart) -> list[GaussianEvent]:
    """What a hospital's noise covered in a run: the mechanisms of the rounds it was asked in."""
    privacy = run.study.privacy
    assert privacy is not None  # privacy_of asks for private runs alone
    # The noise that was found for the target then, instead of finding it again.
    found = {"epsilon": None, "noise_multiplier": hospital.noise_multiplier}
    study = run.study.model_copy(update={"privacy": privacy.model_copy(update=found)})
    plan = plan_noise(study, declared_size(hospital.units(study.unit)))
    assert plan is not None
    rounds = [part.round for part in run.result.rounds if hospital.name in asked(part)]
    return plan.events(rounds, measured=True)
