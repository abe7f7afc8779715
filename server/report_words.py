"""The sentences and numbers of the report: pure functions of a result. Not their layout.

Written for somebody who decides about data and does not train models: plain words, every claim
one that the result supports, and its limits said beside it.
"""

import math

from fedward.common.config import Study
from fedward.common.faces import EMOTIONS
from fedward.common.models import MODELS, is_linear
from fedward.common.result import Result, TestPart
from fedward.common.wording import many, percent, rounded_up


def epsilons(result: Result) -> list[float]:
    """The epsilons that are known, from the smallest."""
    return sorted(h.epsilon for h in result.hospitals if h.epsilon is not None)


def epsilon_range(result: Result) -> str:
    """ "8.00", or "2.10 to 8.00" where hospitals differ; "none" without privacy."""
    known = epsilons(result)
    if result.privacy is None:
        return "none"
    if not known:
        return "–"
    low, high = rounded_up(known[0]), rounded_up(known[-1])
    return high if low == high else f"{low} to {high}"


def accuracy_interval(test: TestPart) -> tuple[float, float]:
    """95 % confidence interval of the accuracy over draws of test images (Wilson 1927)."""
    n, z = sum(map(sum, test.confusion)), 1.96
    if n == 0:
        return 0.0, 1.0
    centre = (test.accuracy + z * z / (2 * n)) / (1 + z * z / n)
    spread = test.accuracy * (1 - test.accuracy) / n + z * z / (4 * n * n)
    half = z * math.sqrt(spread) / (1 + z * z / n)
    return max(0.0, centre - half), min(1.0, centre + half)


def test_images(test: TestPart) -> str:
    """ "3,589 PublicTest images"."""
    return many(sum(map(sum, test.confusion)), f"{test.split} image")


def most_common(test: TestPart) -> tuple[str, float]:
    """The most common emotion of the test split and its share: the accuracy of naming only it."""
    support = [sum(row) for row in test.confusion]
    return EMOTIONS[support.index(max(support))], max(support) / max(1, sum(support))


def summary(result: Result) -> str:
    """The report in three sentences."""
    hospitals = many(len(result.hospitals), "hospital")
    said = [f"In a simulation, {hospitals} trained one model together without sharing a face."]
    if result.test is not None:
        emotion, share = most_common(result.test)
        said.append(
            f"It names the right one of seven emotions in {percent(result.test.accuracy)} of "
            f"{many(sum(map(sum, result.test.confusion)), 'test image')} that no hospital trained "
            f"on; always saying “{emotion}” would be right in {percent(share)}."
        )
    elif result.rounds:
        said.append(
            f"After round {result.rounds[-1].round} it was right in "
            f"{percent(result.rounds[-1].accuracy)} of the test images."
        )
    else:
        said[0] = f"A simulation of {hospitals} that train one model together."
        said.append("No round was finished, so there is no model to judge.")
    return " ".join([*said, privacy_in_short(result)])


def privacy_in_short(result: Result) -> str:
    """One sentence on privacy for the top of the page."""
    if result.privacy is None:
        return "No differential privacy: nothing bounds what the model reveals about an image."
    known = epsilons(result)
    if not known:
        return "It is set up for differential privacy; no ε is recorded yet."
    return (
        f"Differential privacy bounds what it reveals about any one {result.privacy.unit}: "
        f"ε is at most {rounded_up(known[-1])} at every hospital."
    )


def state(result: Result, study: Study) -> str | None:
    """What to say first about a run that is not complete; None for one that is."""
    done = f"{len(result.rounds)} of {many(study.rounds.count, 'round')} finished."
    return {
        "completed": None,
        "running": f"This run has not ended: {done} The numbers below are provisional.",
        "failed": f"This run failed: {done}",
        "interrupted": f"This run was interrupted: {done} It can be resumed where it stopped.",
    }[result.status]


def recipe(study: Study) -> list[tuple[str, str]]:
    """The recipe in words: what, and how."""
    rounds = study.rounds
    share = percent(rounds.participation, 0)
    asked = "every hospital" if rounds.participation == 1 else f"a random {share} of the hospitals"
    summary_of = MODELS[study.training.model].summary if study.training.model in MODELS else ""
    lines = [
        ("Model", study.training.model + (f": {summary_of}" if summary_of else "")),
        (
            "Rounds",
            f"{rounds.count:,} of federated averaging. In each, {asked} gets the model, trains it "
            "on its own images and sends the difference; the aggregator adds the mean difference, "
            "weighted by public size.",
        ),
        ("At a hospital", _local_training(study)),
        ("At the aggregator", _server_step(study)),
        ("Who gets what", _dealing(study)),
    ]
    if _is_linear(study):
        lines[1] = ("Rounds", lines[1][1] + " The first round gathers feature statistics instead.")
    return lines


def _local_training(study: Study) -> str:
    how = study.training
    batches = f"batches of {how.batch_size:,}" if how.batch_size else "all images in one step"
    if study.privacy and (records := study.privacy.patient_records):
        whom = f"batches of {how.batch_size:,}" if how.batch_size else "steps of all"
        batches = f"{whom} patients, each with up to {many(records, 'image')} drawn afresh"
    said = [f"{how.epochs} pass{'' if how.epochs == 1 else 'es'} a round, {batches}"]
    network = not _is_linear(study)
    optimizer = {"adamw": "AdamW", "sgd": f"SGD with momentum {how.momentum:g}"}[how.optimizer]
    said.append(optimizer if network else "plain gradient steps")
    slope = ", falling as a cosine" if how.schedule == "cosine" else ""
    said.append(f"learning rate {how.learning_rate:g}{slope}")
    if network and how.weight_decay:
        said.append(f"weight decay {how.weight_decay:g}")
    if network and how.label_smoothing:
        said.append(f"label smoothing {how.label_smoothing:g}")
    if how.calibrate:
        said.append("logits calibrated by the hospital's own label frequencies")
    if network and how.augment:
        said.append("images randomly flipped, shifted, rotated and scaled")
    if network and how.low_resolution:
        said.append(f"the first {percent(how.low_resolution, 0)} of the rounds at 36×36 pixels")
    return "; ".join(said) + "."


def _server_step(study: Study) -> str:
    rounds = study.rounds
    said = f"Learning rate {rounds.server_learning_rate:g}"
    said += ", falling as a cosine" if rounds.server_schedule == "cosine" else ""
    said += f"; Nesterov momentum {rounds.server_momentum:g}" if rounds.server_momentum else ""
    if rounds.average_from < 1:
        after = percent(rounds.average_from, 0)
        said += f"; the released model is the mean of the models after {after} of the rounds"
    return f"{said}; a round needs {percent(rounds.quorum, 0)} of the hospitals asked."


def _dealing(study: Study) -> str:
    how = study.hospitals
    labels = (
        "Emotions evenly"
        if how.alpha is None
        else f"Emotions unevenly (Dirichlet, α = {how.alpha:g})"
    )
    sizes = (
        f"sizes unevenly (log-normal, σ = {how.size_sigma:g})" if how.size_sigma else "equal sizes"
    )
    cap = f"; at most {how.images_each:,} images each" if how.images_each else ""
    return f"{labels}; {sizes}{cap}; every image at one hospital only."


def departures(result: Result, study: Study) -> list[tuple[str, str]]:
    """What left each hospital: when, and what."""
    form = "clipped and noised before it left" if result.privacy else "exact, without noise"
    size = f"its rounded number of {study.unit}s"
    items = [("Once", f"Its name, {size} and its version of Fedward.")]
    if _is_linear(study):
        items.append(("In round 1", f"The mean of its image features, {form}."))
    items.append(
        (
            "In each later round" if _is_linear(study) else "In each round",
            f"If it took part: how its training changed the model, {form}.",
        )
    )
    if _counts(study):
        items.append(
            (
                "At the end",
                "How many of its own images the released model names right, and how many it has, "
                "both with noise.",
            )
        )
    return items


def never_left(study: Study) -> str:
    """What no message of a hospital holds."""
    scores = "an exact loss or score" if _counts(study) else "a loss or score"
    return (
        f"An image, a label, a count of labels, {scores} on private images, or the exact number of "
        "images or patients."
    )


def _counts(study: Study) -> bool:
    return study.privacy is not None and study.privacy.metrics_noise_multiplier is not None


def _is_linear(study: Study) -> bool:
    return study.training.model in MODELS and is_linear(study.training.model)


def warnings(result: Result) -> list[str]:
    """What a data-protection officer must not overlook in the privacy table."""
    said = []
    if bare := [h.name for h in result.hospitals if h.steps and h.epsilon is None]:
        said.append(f"No ε is recorded for {_some(bare)}: treat what it sent as unprotected.")
    unit = result.privacy.unit if result.privacy else "image"
    loose = [h.name for h in result.hospitals if h.delta and h.delta * max(1, h.units(unit)) >= 1]
    if loose:
        said.append(f"δ is not below one in the number of {unit}s at {_some(loose)}: too weak.")
    if (known := epsilons(result)) and known[-1] > 10:
        said.append(f"An ε of {rounded_up(known[-1])} is a weak guarantee in theory.")
    if result.status != "completed":
        said.append(
            "ε counts finished rounds. A round under way or given up may have sent one more update "
            "of each hospital."
        )
    return said if result.privacy else []


def _some(names: list[str]) -> str:
    shown = ", ".join(names[:5])
    return shown if len(names) <= 5 else f"{shown} and {len(names) - 5:,} more"


def limits(result: Result, study: Study) -> list[str]:
    """What this report does not show."""
    said = [
        "A simulation: one computer played all hospitals. It therefore knows counts, cameras and "
        "scores of single hospitals and shows them here; in a deployment they stay with the "
        "hospital.",
        f"One seed ({result.seed}): another one deals the images and draws the noise differently. "
        "Repeat with other seeds before comparing recipes.",
    ]
    if result.test is not None:
        low, high = accuracy_interval(result.test)
        said.append(
            f"The test images are a sample: the 95% interval of the accuracy is {percent(low)} to "
            f"{percent(high)}. What another seed would change is not in it."
        )
    if result.privacy is not None:
        said.append(
            "What is protected is one patient with all images, as far as the data say who is on "
            "which."
            if result.privacy.unit == "patient"
            else f"What is protected is one {result.privacy.unit}, not one person: somebody with "
            "several images is protected less."
        )
    if study.data.source != "synthetic" and result.rounds:
        said.append(
            "Sample faces on this page come from the test data. Who gets the page gets them too."
        )
    said.append(
        "It names posed or labelled expressions, not what somebody feels, and it is no "
        "medical device."
    )
    return said
