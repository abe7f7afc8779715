"""Results made by hand: what a run directory may hold, without running anything."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fedward.common.config import (
    DataConfig,
    HospitalsConfig,
    PrivacyConfig,
    RoundsConfig,
    Study,
    TrainingConfig,
)
from fedward.common.faces import EMOTIONS
from fedward.common.result import (
    Baselines,
    ClassPart,
    DataPart,
    HospitalPart,
    Mechanism,
    Refusal,
    Result,
    RoundPart,
    RoundSeconds,
    Score,
    Skew,
    TestPart,
    TotalSeconds,
)
from fedward.server.figures import Samples, write_figures

SUPPORT = (467, 56, 496, 895, 653, 415, 607)
RECALL = (0.38, 0.21, 0.30, 0.76, 0.36, 0.68, 0.49)


def confusion() -> list[list[int]]:
    """A 7x7 table whose rows sum to SUPPORT; mistakes spread over the other six emotions."""
    rows = []
    for true, (support, recall) in enumerate(zip(SUPPORT, RECALL, strict=True)):
        right = round(support * recall)
        others = [c for c in range(7) if c != true]
        counts = [0] * 7
        for place, column in enumerate(others):
            counts[column] = (support - right) // 6 + (place < (support - right) % 6)
        counts[true] = right
        rows.append(counts)
    return rows


def final_test() -> TestPart:
    table = np.array(confusion())
    precision = table.diagonal() / table.sum(axis=0)
    recall = table.diagonal() / table.sum(axis=1)
    f1 = 2 * precision * recall / (precision + recall)
    scores = zip(precision.tolist(), recall.tolist(), f1.tolist(), SUPPORT, strict=True)
    return TestPart(
        split="PublicTest",
        accuracy=float(table.trace() / table.sum()),
        macro_f1=float(f1.mean()),
        per_class={
            name: ClassPart(precision=p, recall=r, f1=f, support=n)
            for name, (p, r, f, n) in zip(EMOTIONS, scores, strict=True)
        },
        confusion=table.tolist(),
    )


def hospitals(count: int, *, epsilon: float | None, scored: bool) -> list[HospitalPart]:
    rng = np.random.default_rng(count)
    cameras = ("clean", "dim", "soft", "noisy", "tilted")
    made = []
    for place in range(count):
        counts = rng.multinomial(
            round(28000 / count * rng.lognormal(0, 0.6)), rng.dirichlet([0.9] * 7)
        )
        score = float(rng.uniform(0.35, 0.65)) if scored else None
        made.append(
            HospitalPart(
                name=f"hospital-{place + 1:02d}",
                examples=int(counts.sum()),
                label_counts=counts.tolist(),
                camera=cameras[place % 5],
                epsilon=epsilon,
                delta=None if epsilon is None else 1e-5,
                noise_multiplier=None if epsilon is None else 2.0831,
                steps=20 if scored else 0,
                accuracy=score,
                macro_f1=None if score is None else score * 0.9,
            )
        )
    return made


def rounds(count: int, names: list[str]) -> list[RoundPart]:
    final = final_test()
    return [
        RoundPart(
            round=n + 1,
            accuracy=final.accuracy * (1 - 0.5 * 0.8**n),
            macro_f1=final.macro_f1 * (1 - 0.7 * 0.8**n),
            loss=1.3 + 0.6 * 0.8**n,
            participants=[name for name in names if (n, name) != (2, names[1])],
            refused=[
                Refusal(hospital=names[1], reason="array 'weight' has values that are not finite")
            ]
            if n == 2
            else [],
            seconds=RoundSeconds(train=18.4, aggregate=0.21, evaluate=1.05, engine=0.4),
        )
        for n in range(count)
    ]


MECHANISM = Mechanism(
    unit="image",
    mechanism="Gaussian mechanism on the full batch of every hospital",
    accountant="exact Gaussian differential privacy composition",
    clipping_norm=1.0,
    noise_source="a seeded generator: for simulation, not for a release",
    assumptions=[
        "The aggregator sees each hospital's update on its own; the noise does not rely on it.",
        "Pixel-identical images are one record; images of one person are not.",
    ],
)


def private_result() -> Result:
    part = hospitals(10, epsilon=7.9987, scored=True)
    names = [hospital.name for hospital in part]
    study = Study(
        name="fer-private-8",
        data=DataConfig(source="fer2013.csv"),
        hospitals=HospitalsConfig(count=10, cameras=("clean", "dim", "soft", "noisy", "tilted")),
        training=TrainingConfig(model="scatter", batch_size=0),
        privacy=PrivacyConfig(epsilon=8.0),
        rounds=RoundsConfig(count=20, server_momentum=0.9),
        baselines="all",
    )
    alone = {
        n: Score(accuracy=0.24 + 0.015 * i, macro_f1=0.2, seconds=6.1 + i)
        for i, n in enumerate(names)
    }
    return Result(
        fedward_version="0.1.0",
        status="completed",
        seed=0,
        recipe=study.model_dump(mode="json"),
        data=DataPart(
            source="fer2013.csv",
            sha256="b0a0" * 16,
            training=sum(hospital.examples for hospital in part),
            test=3589,
            duplicates_removed=1216,
            conflicting_labels=57,
        ),
        hospitals=part,
        skew=Skew(hellinger_mean=0.31, hellinger_max=0.58, size_gini=0.29),
        privacy=MECHANISM,
        rounds=rounds(20, names),
        test=final_test(),
        baselines=Baselines(pooled=Score(accuracy=0.561, macro_f1=0.51, seconds=91.0), alone=alone),
        seconds=TotalSeconds(
            total=754.2,
            data=9.3,
            train=610.0,
            aggregate=4.2,
            evaluate=21.0,
            engine=8.1,
            startup=1.9,
        ),
    )


def open_result() -> Result:
    """Five hospitals without privacy, one round, no baselines."""
    part = hospitals(5, epsilon=None, scored=True)
    study = Study(name="demo", training=TrainingConfig(epochs=2, augment=True, label_smoothing=0.1))
    data = DataPart(
        source="synthetic",
        sha256="5e" * 32,
        training=2800,
        test=700,
        duplicates_removed=0,
        conflicting_labels=0,
    )
    return private_result().model_copy(
        update={
            "recipe": study.model_dump(mode="json"),
            "data": data,
            "hospitals": part,
            "privacy": None,
            "rounds": rounds(1, [hospital.name for hospital in part]),
            "baselines": Baselines(),
        }
    )


def failed_result() -> Result:
    """A private run that ended before its first round did."""
    return private_result().model_copy(
        update={
            "status": "failed",
            "reason": "round 1: 3 of 10 hospitals answered, the quorum is 5",
            "hospitals": hospitals(10, epsilon=None, scored=False),
            "rounds": [],
            "test": None,
            "baselines": Baselines(),
            "seconds": TotalSeconds(
                total=3.0, data=0.6, train=0.0, aggregate=0.0, evaluate=0.0, engine=0.0, startup=1.2
            ),
        }
    )


def running_result() -> Result:
    """Four rounds of twenty done; nothing is scored at the hospitals yet."""
    part = hospitals(10, epsilon=3.2, scored=False)
    names = [hospital.name for hospital in part]
    return private_result().model_copy(
        update={
            "status": "running",
            "hospitals": part,
            "rounds": rounds(4, names),
            "test": None,
            "baselines": Baselines(),
        }
    )


def large_result() -> Result:
    """Two hundred hospitals, a hundred rounds."""
    part = hospitals(200, epsilon=8.0, scored=True)
    names = [hospital.name for hospital in part]
    return private_result().model_copy(
        update={"hospitals": part, "rounds": rounds(100, names), "baselines": Baselines()}
    )


MADE: dict[str, Callable[[], Result]] = {
    "private": private_result,
    "open": open_result,
    "failed": failed_result,
    "running": running_result,
    "large": large_result,
}


@pytest.fixture(scope="session")
def made_result() -> Callable[[str], Result]:
    """``made_result(name)`` is the result of that name."""
    return lambda name: MADE[name]()


@pytest.fixture(scope="session")
def samples() -> Samples:
    return drawn_samples()


@pytest.fixture(scope="session")
def figures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with all figures of the private result."""
    folder = tmp_path_factory.mktemp("run") / "figures"
    write_figures(private_result(), drawn_samples(), folder)
    return folder


def drawn_samples() -> Samples:
    """Twenty faces drawn as an oval with eyes and a mouth; every other one is named wrong."""
    y, x = np.mgrid[:48, :48]
    face = np.where((x - 24) ** 2 / 300 + (y - 24) ** 2 / 480 < 1, 190, 60)
    face[(np.abs(y - 19) < 2) & (np.abs(np.abs(x - 24) - 8) < 3)] = 20
    images = np.repeat(face[None].astype(np.uint8), 20, axis=0)
    labels = np.arange(20) % 7
    for image, label in zip(images, labels, strict=True):
        curve = 34 + ((label - 3) * ((x[0] - 24) ** 2 - 40) / 120).astype(int)
        for column in range(15, 34):
            image[np.clip(curve[column], 28, 42), column] = 20
    predicted = np.where(np.arange(20) % 2 == 0, labels, (labels + 1) % 7)
    confidence = np.linspace(0.95, 0.3, 20, dtype=np.float32)
    return Samples(images, labels.astype(np.int64), predicted.astype(np.int64), confidence)


@pytest.fixture
def no_samples() -> Samples:
    none = np.zeros(0, dtype=np.int64)
    return Samples(np.zeros((0, 48, 48), dtype=np.uint8), none, none, none.astype(np.float32))
