"""Every purpose has randomness of its own."""

import numpy as np
import torch

from fedward.common.seeds import derive, numpy_generator, torch_generator


def test_the_same_purpose_repeats_and_others_differ() -> None:
    assert derive(1, "round", 2) == derive(1, "round", 2)
    different = {derive(1, "round", 2), derive(2, "round", 2), derive(1, "round", 3), derive(1)}
    assert len(different) == 4
    assert all(0 <= seed < 2**63 for seed in different)


def test_generators_follow_the_seed() -> None:
    draws = [numpy_generator(5, "x").random(4) for _ in range(2)]
    np.testing.assert_array_equal(*draws)
    tensors = [torch.rand(4, generator=torch_generator(5, "x")) for _ in range(2)]
    assert torch.equal(*tensors)
