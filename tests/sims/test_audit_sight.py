"""What the attacker reads out of updates, against gradients that torch computes."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from fedward.client.local import carry_out
from fedward.client.site import Site
from fedward.common.arrays import Arrays, load_arrays
from fedward.common.config import ModelName, TrainingConfig
from fedward.common.faces import FaceSet
from fedward.common.messages import Order
from fedward.common.models import build, network_inputs
from fedward.server.evaluate import initial_arrays
from fedward.sims.audit_canaries import Canaries, craft, stripes
from fedward.sims.audit_linear import LinearSight
from fedward.sims.audit_mechanism import silent
from fedward.sims.audit_network import NetworkSight, clipping_weights

CLIP = 0.3


def order(model: ModelName, arrays: Arrays, *, noise: float, number: int = 2) -> Order:
    return Order(
        round=number,
        task="train" if number > 1 else "statistics",
        arrays=arrays,
        training=TrainingConfig(model=model, batch_size=0, optimizer="sgd", momentum=0),
        learning_rate=2.0,
        resolution=48,
        noise_multiplier=noise,
        clipping_norm=CLIP,
        seed=1,
    )


def canaries(count: int, *, each: int = 1) -> Canaries:
    return craft(count, draw=stripes, each=each, first=50, rng=np.random.default_rng(4))


def head_in_the_middle() -> Arrays:
    rng = np.random.default_rng(5)
    arrays = initial_arrays(TrainingConfig(model="scatter"), 0)
    return {
        name: (0.05 * rng.standard_normal(array.shape)).astype(np.float32)
        for name, array in arrays.items()
    }


def gradients(
    model: ModelName, arrays: Arrays, who: Canaries, *, together: bool, network: bool = False
) -> np.ndarray:
    """The clipped gradient of every canary, (canaries, parameters)."""
    module = build(model, seed=0).eval()
    load_arrays(module, arrays)
    inputs = network_inputs(model, who.faces.images, cache=None)
    labels = torch.from_numpy(who.faces.labels)
    units = []
    size = who.each if together else 1
    for start in range(0, len(labels), size):
        rows = slice(start, start + size)
        module.zero_grad()
        F.cross_entropy(module(inputs[rows]), labels[rows]).backward()
        whole = torch.cat([p.grad.flatten() for p in module.parameters() if p.grad is not None])
        units.append((whole * min(1.0, CLIP / float(whole.norm()))).double().numpy())
    return np.stack(units).reshape(len(who), who.each // size, -1).sum(1)


def no_background(work: Order) -> Arrays:
    return {name: np.zeros_like(array) for name, array in work.arrays.items()}


@pytest.mark.parametrize(("each", "together"), [(1, False), (3, False), (3, True)])
def test_linear_evidence_is_that_of_the_clipped_gradients(each: int, together: bool) -> None:
    """Log odds by the formula, with gradients from torch: ridge regression of coins of variance
    1/4 around 1/2."""
    who, arrays, noise = canaries(5, each=each), head_in_the_middle(), 2.0
    work = order("scatter", arrays, noise=noise)
    rng = np.random.default_rng(6)
    update = {n: rng.standard_normal(a.shape).astype(np.float32) for n, a in arrays.items()}
    sight = LinearSight("scatter", who, 40, together, no_background)
    sight.watch(work, update)

    rows = gradients("scatter", arrays, who, together=together) / (noise * CLIP)
    seen = -np.concatenate([update["weight"].ravel(), update["bias"]]) * 40 / 2.0
    spread = np.linalg.inv(rows @ rows.T + 4 * np.eye(5))
    odds = spread @ (rows @ seen / (noise * CLIP) - rows @ rows.T @ np.full(5, 0.5))
    np.testing.assert_allclose(sight.log_odds(), odds / spread.diagonal(), rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize("number", [1, 2])
def test_without_noise_every_coin_of_a_linear_round_is_known(number: int) -> None:
    who = canaries(12)
    rng = np.random.default_rng(7)
    images = rng.integers(0, 256, (15, 48, 48)).astype(np.uint8)
    own = FaceSet(images, np.arange(15) % 7, np.arange(15))
    here = who.present()
    everybody = FaceSet(
        np.concatenate([images, here.images]),
        np.concatenate([own.labels, here.labels]),
        np.concatenate([own.patients, here.patients]),
    )
    known = Site("hospital-1", 20, own, None)

    def background(work: Order) -> Arrays:
        return carry_out(silent(work), known).arrays

    work = silent(order("scatter", head_in_the_middle(), noise=1.0, number=number))
    update = carry_out(work, replace(known, faces=everybody)).arrays
    sight = LinearSight("scatter", who, 20, False, background)
    sight.watch(work, update)
    assert np.array_equal(sight.log_odds() > 0, who.inside)
    assert np.abs(sight.log_odds()).min() > 100


@pytest.mark.parametrize(("each", "together"), [(1, False), (3, False), (3, True)])
def test_network_evidence_is_the_way_along_the_clipped_gradients(each: int, together: bool) -> None:
    who = canaries(4, each=each)
    arrays = initial_arrays(TrainingConfig(model="lstm"), 0)
    work = order("lstm", arrays, noise=1.0)
    rng = np.random.default_rng(8)
    update = {
        n: (1e-3 * rng.standard_normal(a.shape)).astype(np.float32) for n, a in arrays.items()
    }
    sight = NetworkSight("lstm", who, together)
    sight.watch(work, update)

    named = dict(build("lstm", seed=0).named_parameters())
    way = np.concatenate([update[name].ravel() for name in named])
    rows = gradients("lstm", arrays, who, together=together)
    expected = -rows @ way / work.learning_rate / (1 if together else each)
    np.testing.assert_allclose(sight.log_odds(), expected, rtol=0.02, atol=2e-6)


def test_clipping_weights_shorten_what_is_too_long_and_nothing_else() -> None:
    network = build("lstm", seed=0).eval()
    who = canaries(6)
    inputs = network_inputs("lstm", who.faces.images, cache=None)
    parts = list(zip(inputs.split(2), torch.from_numpy(who.faces.labels).split(2), strict=True))
    tight = clipping_weights(network, iter(parts), clip=1e-3, unit_size=1)
    assert clipping_weights(network, iter(parts), clip=1e6, unit_size=1).tolist() == [1.0] * 6
    assert (tight < 0.1).all()
    assert all(p.grad is None for p in network.parameters())
    in_pairs = clipping_weights(network, iter(parts), clip=1e-3, unit_size=2)
    assert in_pairs.shape == (3,)
