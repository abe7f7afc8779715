"""Deal faces to hospitals: label skew, size skew, and every patient at one hospital.

For each emotion, shares drawn from Dirichlet(alpha) over the hospitals are multiplied by log-normal
hospital sizes: that gives a quota of images per emotion and hospital. Patients are then dealt one
by one to the hospital whose open quota they fill best. Where every patient has one image this is
plain Dirichlet dealing; where a patient shows many emotions, patients staying whole limits how much
label skew there can be.

Source: shares per class from a Dirichlet distribution as in Yurochkin et al. 2019, "Bayesian
Nonparametric Federated Learning of Neural Networks", and Li et al. 2022, "Federated Learning on
Non-IID Data Silos: An Experimental Study" (label distribution skew). The latter's published code
redraws until every party has ten images; with hundreds of hospitals that would hardly ever end, so
here patients move from the largest hospitals to the smallest instead.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedward.common.config import HospitalsConfig, Unit
from fedward.common.errors import ConfigError
from fedward.common.faces import EMOTIONS, FaceSet
from fedward.common.seeds import numpy_generator
from fedward.sims.cameras import camera_named

FEWEST = 10
"""Training images that every hospital gets at least: below that neither a feature mean nor a
private gradient say anything, and an empty hospital could not take part at all."""

Rows = NDArray[np.int64]
Counts = NDArray[np.int64]
Quota = NDArray[np.float64]


@dataclass(frozen=True)
class Hospital:
    """What one hospital of a simulation holds.

    Attributes:
        name: "hospital-01" and so on.
        training: its rows of the training set, ascending, int64, shape (n,).
        test: its rows of the test set, likewise; may be empty.
        camera: name of the camera that its pictures are taken with.
        declared: the public size that it states when it enrols, in units of privacy (images, or
            patients); not protected by differential privacy, hence coarse. The exact number stays
            private.
    """

    name: str
    training: Rows
    test: Rows
    camera: str
    declared: int


def deal(
    training: FaceSet,
    test: FaceSet,
    config: HospitalsConfig,
    *,
    seed: int,
    unit: Unit = "image",
) -> tuple[Hospital, ...]:
    """Deal every training and test image to exactly one hospital, patients whole.

    Test images follow the same shares per emotion as training images; a patient of both parts
    (same number) stays at one hospital. With ``images_each``, a hospital that was dealt more keeps
    that many, patient by patient in random order; the last patient may be kept in part, and what
    is left over is dealt to nobody. Declared sizes count ``unit``; who gets what does not depend
    on it.

    Raises:
        ConfigError: unknown or no camera; too few patients or images for so many hospitals.
    """
    if not config.cameras:
        raise ConfigError("hospitals.cameras is empty; name at least one camera, such as 'clean'")
    for camera in config.cameras:
        camera_named(camera)
    shares = draw_shares(config, numpy_generator(seed, "hospitals", "shares"))
    owned = _deal_training(training, shares, config, numpy_generator(seed, "hospitals", "training"))
    homes = dict(zip(training.patients.tolist(), owned.tolist(), strict=True))
    tested = _deal_test(test, shares, homes, numpy_generator(seed, "hospitals", "test"))
    rng = numpy_generator(seed, "hospitals", "kept")
    width = max(2, len(str(config.count)))
    hospitals = []
    for k in range(config.count):
        rows = _keep(np.flatnonzero(owned == k), training.patients, config.images_each, rng)
        hospitals.append(
            Hospital(
                name=f"hospital-{k + 1:0{width}d}",
                training=rows,
                test=np.flatnonzero(tested == k),
                camera=config.cameras[k % len(config.cameras)],
                declared=declared_size(units_in(training.patients[rows], unit)),
            )
        )
    return tuple(hospitals)


def draw_shares(config: HospitalsConfig, rng: np.random.Generator) -> Quota:
    """The part of each emotion's images due to each hospital, shape (emotions, hospitals)."""
    sizes = rng.lognormal(0.0, config.size_sigma, config.count)  # first: the same for every alpha
    shares: Quota = np.ones((len(EMOTIONS), config.count))
    if config.alpha is not None:
        shares = rng.dirichlet(np.full(config.count, config.alpha), size=len(EMOTIONS))
    shares = np.maximum(shares, 1e-9) * sizes  # a tiny alpha may draw exact zeros
    shares /= shares.sum(axis=1, keepdims=True)
    return shares


def declared_size(units: int) -> int:
    """The public size of a hospital: two significant digits, at least 10."""
    step = int(10 ** max(len(str(units)) - 2, 0))
    return max(10, (units + step // 2) // step * step)


def units_in(patients: Rows, unit: Unit) -> int:
    """How many units of privacy there are among images of these patients, (n,)."""
    return len(np.unique(patients)) if unit == "patient" else len(patients)


def _deal_training(
    faces: FaceSet, shares: Quota, config: HospitalsConfig, rng: np.random.Generator
) -> NDArray[np.int64]:
    """The hospital of every training image, shape (n,)."""
    _, patient, counts = _by_patient(faces)
    fewest = min(FEWEST, config.images_each or FEWEST)
    quota = shares * counts.sum(axis=0)[:, None]
    if len(counts) >= config.count and len(faces) >= config.count * fewest:
        owner = _fill(counts, quota, np.full(len(counts), -1), rng)
        if _feed_the_smallest(owner, counts, quota, fewest):
            return owner[patient]
    raise ConfigError(
        f"hospitals.count: {len(faces)} training images of {len(counts)} patients cannot be dealt "
        f"to {config.count} hospitals with patients whole and {fewest} images each; "
        "ask for fewer hospitals"
    )


def _deal_test(
    faces: FaceSet, shares: Quota, homes: dict[int, int], rng: np.random.Generator
) -> NDArray[np.int64]:
    """The hospital of every test image, shape (n,); patients known from training stay there."""
    numbers, patient, counts = _by_patient(faces)
    owner = np.array([homes.get(int(number), -1) for number in numbers], np.int64)
    return _fill(counts, shares * counts.sum(axis=0)[:, None], owner, rng)[patient]


def _by_patient(faces: FaceSet) -> tuple[Rows, Rows, Counts]:
    """Patient numbers, every image's position among them, and images per patient and emotion."""
    numbers, patient = np.unique(faces.patients, return_inverse=True)
    counts = np.zeros((len(numbers), len(EMOTIONS)), np.int64)
    np.add.at(counts, (patient, faces.labels), 1)
    return numbers, patient, counts


def _fill(
    counts: Counts, quota: Quota, owner: NDArray[np.int64], rng: np.random.Generator
) -> NDArray[np.int64]:
    """Deal the patients without an owner (-1); returns the owner of every patient.

    Each goes where the squared distance between quota and dealt images falls most. Patients with
    many images come first, while the quotas are open; equals come in random order.
    """
    owner, faces = owner.copy(), counts.astype(np.float64)
    still_open = quota.copy()
    known = owner >= 0
    np.subtract.at(still_open.T, owner[known], faces[known])
    order = rng.permutation(np.flatnonzero(~known))
    order = order[np.argsort(-counts[order].sum(axis=1), kind="stable")]
    for patient in order:
        hospital = np.argmax(faces[patient] @ still_open)
        still_open[:, hospital] -= faces[patient]
        owner[patient] = hospital
    return owner


def _feed_the_smallest(owner: NDArray[np.int64], counts: Counts, quota: Quota, fewest: int) -> bool:
    """Move patients, in place, until every hospital has ``fewest`` images; False when stuck.

    The largest hospital that can spare a patient gives the one that suits the smallest hospital's
    labels best. No hospital falls below ``fewest`` by giving, so this ends; and it cannot get stuck
    when there are ``fewest`` + (images of the largest patient) images per hospital.
    """
    hospitals, sizes = quota.shape[1], counts.sum(axis=1)
    held = np.bincount(owner, weights=sizes, minlength=hospitals)
    while held.min() < fewest:
        smallest = int(held.argmin())
        spare = np.flatnonzero(held[owner] - sizes >= fewest)
        if not spare.size:
            return False
        spare = spare[held[owner[spare]] == held[owner[spare]].max()]
        wanted = fewest * quota[:, smallest] / quota[:, smallest].sum()
        lacking = wanted - counts[owner == smallest].sum(axis=0)
        patient = spare[np.argmax(counts[spare] @ lacking)]
        held[owner[patient]] -= sizes[patient]
        held[smallest] += sizes[patient]
        owner[patient] = smallest
    return True


def _keep(rows: Rows, patients: Rows, most: int | None, rng: np.random.Generator) -> Rows:
    """At most so many of a hospital's rows, patient by patient in random order, ascending."""
    if most is None or len(rows) <= most:
        return rows
    _, patient = np.unique(patients[rows], return_inverse=True)
    rank = rng.permutation(patient.max() + 1)
    return np.sort(rows[np.argsort(rank[patient], kind="stable")[:most]])
