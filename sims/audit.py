"""The empirical audit: one hospital of a study is attacked, and what is found is held against what
is claimed.

Crafted patients are hidden among the hospital's own by coins. The hospital then carries out every
round of the study with the code of simulation and deployment; the attacker reads the orders and
updates, knows all images, and guesses the coins. Too many right guesses refute the claim.
"""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fedward import __version__
from fedward.client.local import carry_out
from fedward.client.site import Site
from fedward.common.arrays import Arrays
from fedward.common.config import Study, Unit
from fedward.common.errors import ConfigError
from fedward.common.faces import FaceSet
from fedward.common.messages import Order
from fedward.common.models import is_linear, reads_features
from fedward.common.seeds import numpy_generator
from fedward.server.evaluate import Examiner
from fedward.sims.audit_attack import Attack, attack
from fedward.sims.audit_canaries import Canaries, Image, craft, hide, striped_collage, stripes
from fedward.sims.audit_linear import LinearSight
from fedward.sims.audit_mechanism import Broken, silent, tampered
from fedward.sims.audit_network import NetworkSight
from fedward.sims.audit_table import AuditRow
from fedward.sims.audit_verdict import CONFIDENCE, Verdict, judge
from fedward.sims.baselines import rounds_alone
from fedward.sims.sites import Consortium, consortium
from fedward.sims.sources import cache_folder

FEWEST = 20  # canaries: with fewer nothing can be shown
RECORDS = 8  # images of a canary where each is wrongly counted as somebody of its own

Tell = Callable[[int, int], None]


@dataclass(frozen=True)
class Audited:
    """What an audit found, with every canary's score (canaries,) and whether it was there."""

    row: AuditRow
    scores: NDArray[np.float64]
    inside: NDArray[np.bool_]


def audit(study: Study, *, canaries: int, broken: Broken | None, tell: Tell) -> Audited:
    """Audit the largest hospital of a study.

    Args:
        study: what is audited; its seed also is the audit's.
        canaries: how many patients are crafted.
        broken: breaks the mechanism on purpose; the claim stays.
        tell: hears of every round that begins: its number, and how many there are.

    Raises:
        ConfigError: the study has no privacy, or there are too few canaries.
        DataError: its faces cannot be used.
    """
    if study.privacy is None:
        raise ConfigError(f"{study.name} claims no privacy: there is nothing to audit")
    if canaries < FEWEST:
        raise ConfigError(f"{canaries} canaries show nothing: give at least {FEWEST}")
    dealt = consortium(study)
    real = dealt.site(0)
    crafted = craft(
        canaries,
        draw=_drawing(study, dealt),
        each=records_of(study, broken),
        first=int(real.faces.patients.max()) + 1,
        rng=numpy_generator(study.seed, "audit", "canaries"),
    )
    with tempfile.TemporaryDirectory() as folder:
        site = hide(crafted, real, Path(folder))
        scores, released = watched(study, site, real, crafted, broken=broken, tell=tell)
    attacks = _attacks(study, dealt, real.faces, crafted, released)
    found = judge(study, site.size, scores, crafted.inside)
    return Audited(_row(study, site, crafted, found, attacks, broken), scores, crafted.inside)


def _drawing(study: Study, dealt: Consortium) -> Callable[[np.random.Generator], Image]:
    """What draws a canary's image; faces are taken from every other test image, and the rest is
    held out for the attack on the released model."""
    return (
        partial(striped_collage, dealt.test.images[::2])
        if reads_features(study.training.model)
        else stripes
    )


def records_of(study: Study, broken: Broken | None) -> int:
    """Images of every canary: more than enter a step, where a patient is one unit."""
    records = study.privacy.patient_records if study.privacy else None
    if records is not None:
        return max(2 * records, RECORDS)
    return RECORDS if broken == "records-for-patients" else 1


def watched(
    study: Study,
    site: Site,
    real: Site,
    crafted: Canaries,
    *,
    broken: Broken | None,
    tell: Tell,
) -> tuple[NDArray[np.float64], Arrays]:
    """Every canary's score from all rounds, (canaries,), and the released model.

    Args:
        study: what is trained.
        site: the hospital with canaries.
        real: the same without.
        crafted: all canaries.
        broken: as in ``audit``.
        tell: as in ``audit``.
    """
    together = study.unit == "patient" and broken != "records-for-patients"
    counted: Unit = "patient" if together else "image"
    hospital = replace(site, unit=counted)
    known = replace(real, size=site.size, unit=counted)

    def without(order: Order) -> Arrays:
        return carry_out(silent(order), known).arrays

    model = study.training.model
    sight: LinearSight | NetworkSight
    if is_linear(model):
        sight = LinearSight(model, crafted, site.size, together, without)
    else:
        sight = NetworkSight(model, crafted, together)

    def change(order: Order) -> Order:
        tell(order.round, study.rounds.count)
        return tampered(order, broken)

    for played in rounds_alone(study, hospital, change):
        sight.watch(played.order, played.update.arrays)
    return sight.log_odds(), played.state.released()


def _attacks(
    study: Study, dealt: Consortium, faces: FaceSet, crafted: Canaries, released: Arrays
) -> tuple[Attack, Attack]:
    """The released model alone: ordinary images against held-out ones, and canaries that were in
    against those that were not."""

    def losses(faces: FaceSet, cache: Path | None) -> NDArray[np.float64]:
        answers = Examiner(study.training.model, "audit", faces, cache).score(released)
        chosen = answers.probabilities[np.arange(len(faces)), faces.labels].astype(np.float64)
        return -np.log(np.maximum(chosen, 1e-12))

    cache = cache_folder() / "features"
    unused = np.arange(1, len(dealt.test), 2)
    own = np.intersect1d(unused, dealt.hospitals[0].test)
    held_out = dealt.examined.take(own if len(own) else unused)
    rng = numpy_generator(study.seed, "audit", "bootstrap")
    of_canaries = losses(crafted.faces, None).reshape(len(crafted), -1).mean(1)
    return (
        attack(losses(faces, cache), losses(held_out, cache), rng),
        attack(of_canaries[crafted.inside], of_canaries[~crafted.inside], rng),
    )


def _row(
    study: Study,
    site: Site,
    crafted: Canaries,
    verdict: Verdict,
    attacks: Sequence[Attack],
    broken: Broken | None,
) -> AuditRow:
    on_images, on_canaries = attacks
    return AuditRow(
        recipe=study.name,
        fedward_version=__version__,
        seed=study.seed,
        broken=broken,
        hospital=site.name,
        unit=study.unit if broken != "records-for-patients" else "patient",
        size=site.size,
        canaries=len(crafted),
        records_per_canary=crafted.each,
        guesses=verdict.guesses,
        right=verdict.right,
        epsilon_claimed=verdict.claimed,
        delta=verdict.delta,
        confidence=CONFIDENCE,
        epsilon_lower_bound=verdict.bound,
        epsilon_lower_bound_curve=verdict.curve,
        epsilon_lower_bound_most=verdict.most,
        passes=verdict.passes,
        attack_auc=on_images.auc.value,
        attack_auc_interval=(on_images.auc.low, on_images.auc.high),
        attack_tpr_at_1_fpr=on_images.tpr.value,
        attack_tpr_interval=(on_images.tpr.low, on_images.tpr.high),
        canary_auc=on_canaries.auc.value,
        canary_tpr_at_1_fpr=on_canaries.tpr.value,
    )
