"""Noise: its distribution, the grid it is released on, and who can repeat it."""

import math
import random
import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from torch import Tensor

from fedward.common.errors import ConfigError, ModelError
from fedward.common.noise_source import (
    BLOCK,
    Keystream,
    NoiseSource,
    SecureNoise,
    SeededNoise,
    gaussians,
    grid_of,
)

DRAWS = 100_000
deviations = st.floats(1e-9, 1e9)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def repeatable(seed: int = 7) -> SecureNoise:
    """The same keys in every run: for tests of what is done with them."""
    return SecureNoise(random.Random(seed).randbytes)


def seeded(seed: int = 0) -> SeededNoise:
    return SeededNoise(generator(seed))


SOURCES: list[Callable[[], NoiseSource]] = [repeatable, seeded]
each_source = pytest.mark.parametrize("source", SOURCES, ids=["secure", "seeded"])


def test_the_keystream_is_chacha20() -> None:
    """RFC 8439, appendix A.1, test vectors 1 and 2."""
    words = Keystream(bytes(32)).words(10).tobytes().hex()
    assert words.startswith("76b8e0ada0f13d90405d6ae55386bd28bdd219b8a08ded1aa836efcc8b770dc7")
    assert words.endswith("9f07e7be5551387a98ba977c732d080d")


def test_words_follow_one_another_however_many_are_asked_for() -> None:
    key = bytes(range(32))
    one, parts = Keystream(key).words(100), Keystream(key)
    np.testing.assert_array_equal(one, np.concatenate([parts.words(n) for n in (3, 0, 61, 36)]))


def test_box_muller_by_hand() -> None:
    """Half of all lengths are below sqrt(2 ln 2); a quarter of a turn points along the second."""
    half, quarter = 2**63, 2**62
    got = gaussians(np.array([half, half, 0, quarter], np.uint64))
    length = math.sqrt(2 * math.log(2))
    np.testing.assert_allclose(got, [length, 0, 0, length], atol=1e-15)


def test_no_word_makes_noise_that_is_not_finite() -> None:
    worst = [0, 1, 2**62, 2**63 - 1, 2**63, 2**64 - 1]
    words = np.array([[a, b] for a in worst for b in worst], np.uint64).T.reshape(-1)
    got = gaussians(words)
    assert np.isfinite(got).all()
    assert float(np.abs(got).max()) == pytest.approx(math.sqrt(2 * 64 * math.log(2)))  # 9.42


@each_source
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_noise_is_gaussian(source: Callable[[], NoiseSource], dtype: torch.dtype) -> None:
    drawn = source().added_to(torch.full((DRAWS,), 3.0, dtype=dtype), 0.25)
    units = (drawn.double().numpy() - 3.0) / 0.25
    assert stats.kstest(units, "norm").pvalue > 0.01
    for power, moment, spread in [(1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)]:
        assert abs(np.mean(units**power) - moment) < 4 * math.sqrt(spread / DRAWS)
    assert 3.9 < np.abs(units).max() < 6


def test_draws_are_independent_of_their_neighbours_and_partners() -> None:
    """The two Gaussians of a pair stand half a block apart."""
    units = repeatable().added_to(torch.zeros(2 * BLOCK), 1.0).numpy()
    for apart in (1, 2, BLOCK // 2, BLOCK):
        one, other = units[:-apart], units[apart:]
        assert abs(np.corrcoef(one, other)[0, 1]) < 4 / math.sqrt(len(one))
        assert abs(np.corrcoef(one**2, other**2)[0, 1]) < 4 / math.sqrt(len(one))


@given(
    totals=st.lists(st.floats(-1e4, 1e4), min_size=1, max_size=9),
    deviation=deviations,
    dtype=st.sampled_from([torch.float32, torch.float64, torch.float16, torch.bfloat16]),
)
def test_every_released_number_is_a_multiple_of_the_grid(
    totals: list[float], deviation: float, dtype: torch.dtype
) -> None:
    sums = torch.tensor(totals, dtype=torch.float64).mul(deviation)
    if dtype == torch.float16:  # ends at 65504
        deviation, sums = 1.0, sums / deviation
    released = repeatable().added_to(sums.to(dtype), deviation)
    assert released.dtype == dtype
    steps = released.double() / grid_of(deviation)
    assert torch.equal(steps, steps.round())


@given(deviation=deviations)
def test_the_grid_depends_on_the_deviation_alone(deviation: float) -> None:
    grid = grid_of(deviation)
    assert math.frexp(grid)[0] == 0.5  # a power of two
    assert deviation * 2.0**-21 <= grid <= deviation * 2.0**-20


@given(total=st.floats(-100, 100), deviation=st.floats(1e-3, 1e3))
def test_rounding_moves_a_number_by_half_a_step_of_the_grid_and_of_its_type(
    total: float, deviation: float
) -> None:
    drawn = gaussians(Keystream(random.Random(7).randbytes(32)).words(2))[0]
    exact = float(drawn * deviation + total)
    wide = repeatable().added_to(torch.tensor([total], dtype=torch.float64), deviation)
    half = grid_of(deviation) / 2
    assert abs(float(wide) - exact) <= half * (1 + 1e-9)
    narrow = repeatable().added_to(torch.tensor([total], dtype=torch.float64).float(), deviation)
    step = float(np.spacing(np.float32(abs(exact) + half)))
    off = abs(float(np.float32(total)) - total)
    assert abs(float(narrow) - exact) <= half * (1 + 1e-9) + step / 2 + off


def test_float32_holds_every_multiple_up_to_eight_deviations() -> None:
    """24 bits: there, casting to float32 changes nothing."""
    total = torch.full((1000,), 2.5)
    narrow = repeatable().added_to(total, 1.0)
    assert torch.equal(narrow.double(), repeatable().added_to(total.double(), 1.0))


def test_sums_apart_by_less_than_the_grid_have_the_same_possible_values() -> None:
    """Without a grid the last bits of the sum show through small noise."""
    one, other = torch.full((50,), 1 / 3), torch.full((50,), np.nextafter(np.float32(1 / 3), 1.0))
    steps = (repeatable().added_to(one, 64.0) - repeatable(8).added_to(other, 64.0)) / grid_of(64.0)
    assert torch.equal(steps, steps.round())
    steps = (seeded().added_to(one, 64.0) - seeded(1).added_to(other, 64.0)) / grid_of(64.0)
    assert not torch.equal(steps, steps.round())


@each_source
@pytest.mark.parametrize(
    "total",
    [
        torch.tensor(2.0),
        torch.empty(0, 3),
        torch.zeros(7),
        torch.zeros(BLOCK + 1),
        torch.zeros(8, 3, 3, 3).to(memory_format=torch.channels_last),
        torch.arange(12.0).view(3, 4).T,
        torch.arange(3.0).expand(5, 3),
        torch.arange(12.0)[::2],
    ],
    ids=lambda total: str(tuple(total.shape)),
)
def test_a_sum_keeps_its_shape_and_is_not_changed(
    source: Callable[[], NoiseSource], total: Tensor
) -> None:
    before = total.clone()
    released = source().added_to(total, 1e-3)
    assert torch.equal(total, before)
    assert released.shape == total.shape
    torch.testing.assert_close(released, total, atol=1e-2, rtol=0)
    if total.is_contiguous(memory_format=torch.channels_last) and total.ndim == 4:
        assert released.is_contiguous(memory_format=torch.channels_last)


@each_source
@pytest.mark.parametrize("deviation", [0.0, -1.0, math.nan, math.inf, 5e-324])
def test_privacy_needs_noise(source: Callable[[], NoiseSource], deviation: float) -> None:
    with pytest.raises(ConfigError, match="needs noise: a source and a positive deviation"):
        source().added_to(torch.zeros(3), deviation)


@each_source
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_sum_that_is_not_finite_is_refused(
    source: Callable[[], NoiseSource], value: float, dtype: torch.dtype
) -> None:
    total = torch.zeros(3, 40, dtype=dtype)
    total[1, 7] = value
    with pytest.raises(ModelError, match="not finite"):
        source().added_to(total, 1.0)
    total[2, 3] = -value  # which cancels, if it is infinite
    with pytest.raises(ModelError, match="not finite"):
        source().added_to(total, 1.0)


@pytest.mark.parametrize("shape", [(3,), (5, 3), (1000,), (8, 4, 3, 3)])
@pytest.mark.parametrize("deviation", [0.37, 1e-9, 12345.0])
def test_seeded_noise_is_bit_for_bit_what_it_always_was(
    shape: tuple[int, ...], deviation: float
) -> None:
    """Networks had torch.normal in their own type, linear heads scaled torch.randn in float64."""
    total = torch.randn(shape, generator=generator(5))
    drawn = torch.normal(0, deviation, shape, generator=generator(9), dtype=torch.float32)
    assert torch.equal(seeded(9).added_to(total, deviation), total + drawn)
    wide = torch.randn(shape, generator=generator(9), dtype=torch.float64) * deviation
    assert torch.equal(seeded(9).added_to(total.double(), deviation), total.double() + wide)


def test_coins_are_uniform_and_seeded_ones_as_they_always_were() -> None:
    coins = repeatable().coins(DRAWS).numpy()
    assert coins.min() >= 0
    assert coins.max() < 1
    assert stats.kstest(coins, "uniform").pvalue > 0.01
    assert len(SecureNoise().coins(0)) == 0
    wanted = torch.rand(9, generator=generator(3), dtype=torch.float64)
    assert torch.equal(SeededNoise(generator(), coins=generator(3)).coins(9), wanted)
    assert torch.equal(SeededNoise(generator(3)).coins(9), wanted)


def test_secure_noise_never_comes_twice() -> None:
    one, other = SecureNoise(), SecureNoise()
    drawn = [source.added_to(torch.zeros(50), 1.0) for source in (one, one, other)]
    tossed = [source.coins(50).float() for source in (one, one, other)]
    everything = torch.cat(drawn + tossed)
    assert len(torch.unique(everything)) == len(everything)


def test_torchs_seed_decides_seeded_noise_and_no_other() -> None:
    """Whoever knows the seed of seeded noise has the sum; of secure noise there is none to know."""
    total = torch.randn(200, generator=generator(1))
    found = {}
    for kind in ("seeded", "secure"):
        torch.manual_seed(4)
        source = seeded(4) if kind == "seeded" else SecureNoise()
        released = source.added_to(total, 1.0)
        torch.manual_seed(4)
        found[kind] = released - torch.normal(0, 1.0, total.shape, generator=generator(4))
    torch.testing.assert_close(found["seeded"], total, atol=1e-6, rtol=0)
    assert float((found["secure"] - total).std()) > 1.1  # two noises, one over the other


FORKS = """
import os
import sys

import torch

from fedward.common.noise_source import SecureNoise

source = SecureNoise()
source.added_to(torch.zeros(4), 1.0)
for _ in range(2):
    os.fork()
line = repr([*source.added_to(torch.zeros(4), 1.0).tolist(), *source.coins(4).tolist()])
os.write(1, (line[1:-1] + "\\n").encode())
"""


def test_forked_processes_do_not_repeat_each_other() -> None:
    """Constructed, and used, before the fork: nothing is left that two processes could share."""
    done = subprocess.run([sys.executable, "-c", FORKS], capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    assert len(lines) == 4
    numbers = [float(number) for line in lines for number in line.split(",")]
    assert len(set(numbers)) == len(numbers) == 32
