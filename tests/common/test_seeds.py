"""Every purpose has randomness of its own."""

import random

import numpy as np
import pytest
import torch

from fedward.common.seeds import derive, numpy_generator, secret_generator, torch_generator


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


def test_a_secret_generator_is_in_a_state_that_the_system_drew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """All 624 words, as numpy's own Mersenne Twister in that state confirms."""
    drawn = random.Random(1).randbytes(8 * 624)
    monkeypatch.setattr("os.urandom", lambda count: drawn[:count])
    twister = np.random.MT19937()
    state = twister.state
    state["state"]["key"] = np.frombuffer(drawn, np.uint64).astype(np.uint32)
    state["state"]["pos"] = 624
    twister.state = state
    wanted = (twister.random_raw(1500) & (2**24 - 1)) / 2**24
    np.testing.assert_array_equal(torch.rand(1500, generator=secret_generator()), wanted)


def test_no_secret_generator_repeats_another() -> None:
    one, other = (torch.rand(20, generator=secret_generator()) for _ in "ab")
    assert len(torch.unique(torch.cat([one, other]))) == 40
