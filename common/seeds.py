"""Independent random generators, derived from one seed and a path of labels; and one without.

Every random choice of a simulation names its purpose, so that the order in which things happen
(one worker or two, a resumed run or an uninterrupted one) never changes a number.
"""

import hashlib
import os

import numpy as np
import torch

_MARK = 0x5EED  # a seed is the first word of the state that it makes
_WORDS = slice(24, 24 + 8 * 624)  # bytes of a state: the words of MT19937, each in eight


def derive(seed: int, *labels: str | int) -> int:
    """A 63-bit seed for one purpose, e.g. ``derive(7, "round", 3, "hospital-02", "batches")``."""
    text = "/".join([str(seed), *map(str, labels)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def numpy_generator(seed: int, *labels: str | int) -> np.random.Generator:
    """A numpy generator for one purpose."""
    return np.random.default_rng(derive(seed, *labels))


def torch_generator(seed: int, *labels: str | int) -> torch.Generator:
    """A CPU torch generator for one purpose."""
    return torch.Generator().manual_seed(derive(seed, *labels))


def secret_generator() -> torch.Generator:
    """A CPU torch generator whose state the operating system drew, all 624 words of it: of a seed,
    torch uses 32 bits, which can be tried one after the other."""
    generator = torch.Generator().manual_seed(_MARK)
    state = generator.get_state()
    words = state[_WORDS].view(torch.int64)
    if int(words[0]) != _MARK:
        raise RuntimeError("this version of torch lays out the state of its generators differently")
    drawn = torch.frombuffer(bytearray(os.urandom(8 * len(words))), dtype=torch.int64)
    words.copy_(drawn & 0xFFFFFFFF)
    generator.set_state(state)
    return generator
