"""Crafted patients: what they look like, whose they are, and how they are hidden."""

from functools import partial
from pathlib import Path

import numpy as np

from fedward.client.site import Site
from fedward.common.faces import FaceSet
from fedward.sims.audit_canaries import Canaries, craft, hide, striped_collage, stripes


def crafted(count: int = 9, *, each: int = 3, seed: int = 0) -> Canaries:
    rng = np.random.default_rng(seed)
    return craft(count, draw=stripes, each=each, first=100, rng=rng)


def test_every_canary_is_a_patient_of_its_own_with_one_emotion() -> None:
    canaries = crafted()
    assert canaries.faces.patients.tolist() == np.repeat(np.arange(100, 109), 3).tolist()
    assert canaries.faces.images.shape == (27, 48, 48)
    assert canaries.faces.images.dtype == np.uint8
    by_patient = canaries.faces.labels.reshape(9, 3)
    assert (by_patient == by_patient[:, :1]).all()
    assert len(canaries) == 9


def test_images_of_a_patient_differ_a_little_and_patients_a_lot() -> None:
    images = crafted().faces.images.reshape(9, 3, -1).astype(int)
    differing = (images[:, 0] != images[:, 1]).sum(1)
    assert (differing > 0).all()
    assert (differing <= 48).all()
    assert ((images[0, 0] != images[1:, 0]).sum(1) > 30).all()


def test_coins_are_fair_and_do_not_hang_on_how_many_images_there_are() -> None:
    many = crafted(400, each=1).inside
    assert 160 < many.sum() < 240
    assert np.array_equal(many, crafted(400, each=2).inside)
    assert not np.array_equal(many, crafted(400, each=1, seed=1).inside)


def test_a_collage_has_a_quarter_of_each_face_where_it_was_and_one_patch() -> None:
    faces = np.stack([np.full((48, 48), grey, np.uint8) for grey in range(50)])
    image = striped_collage(faces, np.random.default_rng(3))
    quarters = [image[a : a + 24, b : b + 24] for a in (0, 24) for b in (0, 24)]
    common = [int(np.bincount(quarter.ravel()).argmax()) for quarter in quarters]
    assert len(set(common)) > 1
    assert max(common) < 50
    foreign = np.stack([q != grey for q, grey in zip(quarters, common, strict=True)])
    assert 20 < foreign.sum() <= 30 * 30
    one = np.arange(48 * 48).reshape(1, 48, 48).astype(np.uint8)
    kept = striped_collage(one, np.random.default_rng(0)) == one[0]
    assert kept.sum() >= 48 * 48 - 30 * 30


def test_only_those_whose_coin_says_so_are_hidden_and_the_size_tells_nothing(
    tmp_path: Path,
) -> None:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (30, 48, 48)).astype(np.uint8)
    own = FaceSet(images, np.arange(30) % 7, np.arange(30) // 3)
    canaries = craft(
        20, draw=partial(striped_collage, images), each=2, first=10, rng=np.random.default_rng(1)
    )
    for unit, size in (("image", 40), ("patient", 20)):
        site = hide(canaries, Site("hospital-1", 30, own, None, unit), tmp_path)
        assert site.size == size
        assert (site.unit, site.cache) == (unit, tmp_path)
        there = set(site.faces.patients[30:].tolist())
        assert there == {10 + k for k in np.flatnonzero(canaries.inside)}
        assert len(site.faces) == 30 + 2 * canaries.inside.sum()
        assert np.array_equal(site.faces.images[:30], images)
