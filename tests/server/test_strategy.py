"""Who is asked, and for what."""

from fedward.common.config import (
    HospitalsConfig,
    PrivacyConfig,
    RoundsConfig,
    Study,
    TrainingConfig,
)
from fedward.common.messages import Hello
from fedward.common.noise import NoisePlan
from fedward.server.aggregate import ServerState
from fedward.server.strategy import Member, choose_cohort, order_for, side_of

MEMBERS = {node: Member(Hello(f"h{node}", size, "0"), None) for node, size in enumerate((5, 9, 7))}


def study(participation: float = 1.0) -> Study:
    return Study(
        name="x",
        hospitals=HospitalsConfig(count=3),
        training=TrainingConfig(model="scatter", learning_rate=4.0, schedule="cosine", warmup=0.5),
        privacy=PrivacyConfig(epsilon=1, clipping_norm=0.25),
        rounds=RoundsConfig(count=4, participation=participation),
    )


def test_the_largest_hospital_is_asked_first() -> None:
    assert choose_cohort(study(), MEMBERS, 1) == [1, 2, 0]


def test_a_fraction_is_drawn_anew_every_round_and_repeatably() -> None:
    draws = [tuple(choose_cohort(study(0.34), MEMBERS, n)) for n in range(1, 40)]
    assert all(len(draw) == 1 for draw in draws)
    assert len(set(draws)) == 3
    assert draws == [tuple(choose_cohort(study(0.34), MEMBERS, n)) for n in range(1, 40)]


def test_nobody_is_too_few() -> None:
    assert len(choose_cohort(study(0.01), MEMBERS, 1)) == 1


def test_orders_follow_schedule_and_noise_plan() -> None:
    member = Member(Hello("h", 100, "0"), NoisePlan(2.0, 3.0, 1.0, 1))
    orders = [order_for(study(), ServerState(0, {}), member, number) for number in (1, 2, 3)]
    assert [order.task for order in orders] == ["statistics", "train", "train"]
    assert [order.noise_multiplier for order in orders] == [3.0, 2.0, 2.0]
    assert orders[2].learning_rate == 4.0 * 0.5
    assert orders[0].clipping_norm == 0.25


def test_an_order_says_how_many_records_of_a_patient_enter_a_step() -> None:
    per_patient = PrivacyConfig(epsilon=1, unit="patient", records_per_patient=3)
    for privacy, records in ((per_patient, 3), (study().privacy, None), (None, None)):
        asked = study().model_copy(update={"privacy": privacy})
        assert order_for(asked, ServerState(0, {}), MEMBERS[0], 2).records_per_patient == records


def test_without_privacy_no_noise_is_ordered() -> None:
    plain = study().model_copy(update={"privacy": None})
    order = order_for(plain, ServerState(0, {}), MEMBERS[0], 2)
    assert order.noise_multiplier is None


def test_low_resolution_is_for_the_first_rounds() -> None:
    training = TrainingConfig(model="compact-cnn", low_resolution=0.5)
    small = study().model_copy(update={"training": training})
    assert [side_of(small, number) for number in (1, 2, 3, 4)] == [36, 36, 48, 48]
