"""The consortium of a simulated study: who has which faces, through which camera, and their app.

Built from the study alone, so that every process (aggregator, workers, a resumed run) sees the same
hospitals. Hospitals are numbered from the largest to the smallest, which lets two workers finish a
round at about the same time. Nothing of the aggregator is imported here: hospitals' processes
start with this module.
"""

import os
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache

import numpy as np
from flwr.app import Context
from numpy.typing import NDArray

from fedward.client.app import client_app as app_of
from fedward.client.site import Site
from fedward.common.config import Study
from fedward.common.errors import ConfigError
from fedward.common.faces import FaceData, FaceSet, split_name
from fedward.common.seeds import numpy_generator
from fedward.common.validation import held_out
from fedward.sims.cameras import camera_named, photograph
from fedward.sims.ledgers import guard_of
from fedward.sims.partition import Hospital, deal
from fedward.sims.sources import cache_folder, open_source
from fedward.sims.studies import study_from_run_config

STUDY_VARIABLE = "FEDWARD_STUDY"


@dataclass(frozen=True)
class Consortium:
    """All hospitals of a study, the largest first.

    Attributes:
        study: what they take part in.
        data: the curated source; Training without its validation part where that is the test.
        test: the test faces in use, as published.
        hospitals: who has which rows of ``data.training`` and ``test``.
    """

    study: Study
    data: FaceData
    test: FaceSet
    hospitals: tuple[Hospital, ...]

    def training_faces(self, hospital: Hospital) -> FaceSet:
        """A hospital's own training images, through its camera."""
        return self._through_camera(self.data.training.take(hospital.training), hospital, "train")

    @property
    def test_name(self) -> str:
        """What the test faces are called in results, such as "PublicTest+PrivateTest"."""
        return split_name(self.study.data.test_split)

    @cached_property
    def examined(self) -> FaceSet:
        """All test images in published order, each through its hospital's camera."""
        if all(hospital.camera == "clean" for hospital in self.hospitals):
            return self.test
        images = np.array(self.test.images)
        for hospital in self.hospitals:
            own = self._through_camera(self.test.take(hospital.test), hospital, "test")
            images[hospital.test] = own.images
        return FaceSet(images, self.test.labels, self.test.patients)

    def label_counts(self) -> NDArray[np.int64]:
        """Training images by hospital and emotion, shape (hospitals, 7)."""
        labels = self.data.training.labels
        return np.stack([np.bincount(labels[h.training], minlength=7) for h in self.hospitals])

    @cached_property
    def sites(self) -> tuple[Site, ...]:
        """What every hospital trains on, photographed once: forked processes share it."""
        return tuple(self.site(index) for index in range(len(self.hospitals)))

    def site(self, index: int) -> Site:
        """What the hospital of this index trains on."""
        hospital = self.hospitals[index]
        faces = self.training_faces(hospital)
        cache = cache_folder() / "features"
        return Site(
            hospital.name, hospital.declared, faces, cache, self.study.unit, randomness="seeded"
        )

    def pooled(self) -> Site:
        """One imaginary hospital that has all training images: the pooled baseline."""
        parts = [self.training_faces(hospital) for hospital in self.hospitals]
        faces = FaceSet(
            np.concatenate([part.images for part in parts]),
            np.concatenate([part.labels for part in parts]),
            np.concatenate([part.patients for part in parts]),
        )
        size = sum(hospital.declared for hospital in self.hospitals)
        cache = cache_folder() / "features"
        return Site("pooled", size, faces, cache, self.study.unit, randomness="seeded")

    def _through_camera(self, faces: FaceSet, hospital: Hospital, part: str) -> FaceSet:
        camera = camera_named(hospital.camera)
        rng = numpy_generator(self.study.seed, "camera", hospital.name, part)
        return FaceSet(photograph(faces.images, camera, rng), faces.labels, faces.patients)


def consortium(study: Study) -> Consortium:
    """Deal a study's faces to its hospitals.

    Raises:
        DataError: when the source cannot be used or lacks the test split.
        ConfigError: when it cannot be dealt to so many hospitals, or delta is too large for one.
    """
    return _consortium(study.model_dump_json())


@lru_cache(maxsize=1)
def _consortium(document: str) -> Consortium:
    study = Study.model_validate_json(document)
    data = open_source(study.data, study.seed)
    if study.data.test_split == "validation":
        data = held_out(data)
    test = data.test(study.data.test_split)
    hospitals = deal(data.training, test, study.hospitals, seed=study.seed, unit=study.unit)
    _check_sizes(study, [hospital.declared for hospital in hospitals])
    by_size = tuple(sorted(hospitals, key=lambda h: (-h.declared, h.name)))
    return Consortium(study, data, test, by_size)


def _check_sizes(study: Study, sizes: list[int]) -> None:
    """Refuse now what hospitals and baselines would be refused for later."""
    for size in [*sizes, *([sum(sizes)] if study.baselines != "none" else [])]:
        if study.privacy:
            study.privacy.check_size(size)


def study_of(context: Context) -> Study:
    """The study of this process: `fedward simulate` hands it over in the environment, `flwr run`
    in Flower's run configuration. Raises ConfigError when neither does."""
    document = os.environ.get(STUDY_VARIABLE)
    if document:
        return Study.model_validate_json(document)
    if not context.run_config:
        raise ConfigError("no study given: start with `fedward simulate` or `flwr run .`")
    return study_from_run_config(context.run_config)


def open_site(context: Context) -> Site:
    """The site of a simulated Flower node: its partition number is the hospital's index."""
    dealt = consortium(study_of(context))
    index = context.node_config["partition-id"]
    if not isinstance(index, int) or not 0 <= index < len(dealt.hospitals):
        raise ConfigError(f"node {index} has no hospital: the study has {len(dealt.hospitals)}")
    site = dealt.sites[index]
    return replace(site, guard=guard_of(site.name)) if dealt.study.privacy else site


client_app = app_of(open_site)
