"""Which test faces a report shows."""

import numpy as np
import pytest

from fedward.common.config import DataConfig, HospitalsConfig, Study
from fedward.common.metrics import score
from fedward.server.evaluate import Evaluation
from fedward.sims.pictures import SHOWN, samples
from fedward.sims.sites import Consortium, consortium


@pytest.fixture(scope="module")
def dealt() -> Consortium:
    data = DataConfig(synthetic_patients=60, synthetic_images_per_patient=2)
    return consortium(Study(name="x", data=data, hospitals=HospitalsConfig(count=2)))


@pytest.mark.parametrize(("wrong", "shown_wrong"), [(0, 0), (3, 3), (10, SHOWN // 2)])
def test_half_of_the_samples_are_right_where_there_are_as_many(
    dealt: Consortium, wrong: int, shown_wrong: int
) -> None:
    labels = dealt.test.labels.astype(np.int64)
    answers = labels.copy()
    answers[:wrong] = (answers[:wrong] + 1) % 7
    probabilities = np.eye(7, dtype=np.float32)[answers] * 0.75
    evaluation = Evaluation(0.0, score("PublicTest", labels, answers), probabilities)

    chosen = samples(dealt, evaluation)

    assert np.count_nonzero(chosen.labels == chosen.predicted) == SHOWN // 2
    assert np.count_nonzero(chosen.labels != chosen.predicted) == shown_wrong
    assert chosen.images.shape == (len(chosen.labels), 48, 48)
    assert set(chosen.confidence.tolist()) == {0.75}
