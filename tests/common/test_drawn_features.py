"""The strongest fixed features: unit length, mirror images agree, the same whatever the batch."""

import numpy as np
import pytest

from fedward.common.drawn_features import CHUNK, COUNT, drawn, extract_drawn
from fedward.common.errors import DataError

FACES = np.random.default_rng(1).integers(0, 256, (CHUNK + 2, 48, 48)).astype(np.uint8)


def test_features_have_unit_length_and_do_not_mind_a_mirror_or_the_batch() -> None:
    features = extract_drawn(FACES)
    assert features.shape == (len(FACES), COUNT)
    assert features.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(features, axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(extract_drawn(FACES[-1:]), features[-1:], atol=1e-4)
    np.testing.assert_allclose(extract_drawn(FACES[:3, :, ::-1].copy()), features[:3], atol=1e-4)


def test_no_faces_and_wrong_ones() -> None:
    assert extract_drawn(FACES[:0]).shape == (0, COUNT)
    with pytest.raises(DataError, match="uint8"):
        extract_drawn(FACES[:2].astype(np.float32))  # type: ignore[arg-type]


def test_the_kind_is_named_after_the_network() -> None:
    kind = drawn()
    assert kind.version.startswith("drawn-1 scattering-")
    assert (kind.count, kind.bound) == (COUNT, 1.0)
