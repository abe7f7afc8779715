"""The mechanism of a simulated study in words, for a data-protection officer.

What is protected, how, and which assumptions the epsilons rest on.
"""

from typing import TYPE_CHECKING

from fedward.common.config import PrivacyConfig, Study
from fedward.common.models import is_linear, reads_features
from fedward.common.result import Mechanism

if TYPE_CHECKING:  # it brings Flower, and planning does without
    from fedward.server.strategy import Member

FIXED_FEATURES = (
    "What the model reads of a face is computed by fixed functions, the same for everybody; "
    "drawings of faces went into them, and no patient's data."
)
IMAGENET_FEATURES = (
    "What the model reads of a face is computed by VGG16's convolutions with weights from a local "
    "file, the same for everybody; photographs of ImageNet went into them. That no patient's data "
    "did is taken as given: a file that was tuned on patients would be outside epsilon."
)


def _origin_of_features(model: str) -> list[str]:
    """What went into a model's fixed features; nothing for a model that has none."""
    if not reads_features(model):
        return []
    return [IMAGENET_FEATURES if model == "vgg16" else FIXED_FEATURES]


def _unit_in_words(privacy: PrivacyConfig) -> list[str]:
    """What neighbouring data sets are, and what that leaves open."""
    if privacy.unit == "image":
        return [
            "Neighbouring data sets differ by adding or removing one image; pixel-identical "
            "images are kept once.",
            "A person with several images is protected for each image, not for all together.",
        ]
    return [
        "Neighbouring data sets differ by adding or removing one patient with all images; of "
        "pixel-identical images one is kept, at one patient.",
        f"A patient adds to a step the mean over at most {privacy.records_per_patient} images, "
        "drawn afresh for every step and clipped as one.",
        "Who is on an image is what the data say; a person under two patient numbers is two.",
    ]


def mechanism_in_words(study: Study) -> str:
    """What every step of a private study is."""
    if study.training.batch_size == 0 or is_linear(study.training.model):
        return "Gaussian mechanism on full-batch clipped gradients, at every hospital"
    return "Poisson-subsampled Gaussian mechanism (DP-SGD), at every hospital"


def describe_mechanism(study: Study, member: "Member | None") -> Mechanism:
    """What a data-protection officer needs to know beside the numbers."""
    privacy = study.privacy
    assert privacy is not None
    return Mechanism(
        unit=privacy.unit,
        mechanism=mechanism_in_words(study),
        accountant=member.noise.accountant() if member and member.noise else "none yet",
        clipping_norm=privacy.clipping_norm,
        noise_source=(
            "a seeded generator, so that the simulation can be repeated: not private, "
            "not fit for a release"
        ),
        assumptions=[
            *_origin_of_features(study.training.model),
            *_unit_in_words(privacy),
            "Every hospital adds its own full noise and trusts nobody else with its updates.",
            "The size that a hospital states, rounded to two digits, is public and not protected.",
            "Settings are taken as given: data that guided their choice is not part of epsilon.",
            "Figures and scores on this page come from the simulator; a real hospital would not "
            "release its label counts or its own accuracy.",
        ],
    )
