"""Orders at a hospital that keeps a budget: what they cost, what is refused, and what leaves.

The server of these tests is hostile: it sends whatever it likes.
"""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, RecordDict
from flwr.common.serde import recorddict_to_proto
from flwr.supercore.task_identity import TaskIdentity

from fedward.client import local
from fedward.client.app import client_app
from fedward.client.egress import Departure, read_departures
from fedward.client.guard import Guard, sha256
from fedward.client.ledger import Ledger
from fedward.client.ledger_check import verify
from fedward.client.ledger_entries import RefuseRecord, ReleaseRecord
from fedward.client.ledger_page import last_records, read_standing
from fedward.client.policy import Policy
from fedward.client.site import Site
from fedward.common.arrays import Arrays
from fedward.common.config import TrainingConfig
from fedward.common.errors import RefusedError, UpdateError
from fedward.common.faces import FaceSet
from fedward.common.messages import REFUSALS, Order
from fedward.common.privacy import GaussianEvent, epsilon_of
from fedward.common.wire import pack_orders, read_hello, read_update
from fedward.server.evaluate import initial_arrays

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)
SIZE = 30
DELTA = 1e-3


@pytest.fixture(autouse=True)
def identity() -> None:
    TaskIdentity.task_id = TaskIdentity.run_id = TaskIdentity.node_id = 1


@pytest.fixture(scope="module")
def arrays() -> Arrays:
    return initial_arrays(TrainingConfig(model="scatter"), 0)


@pytest.fixture
def policy() -> Policy:
    return Policy(
        unit="image",
        patients=SIZE,
        delta=DELTA,
        epsilon_total=4.0,
        valid_from=date(2026, 1, 1),
        valid_until=date(2026, 12, 31),
        may_leave=("update", "statistics"),
        models=("scatter",),
        maximum_epochs=2,
    )


class Hospital:
    """A site with a guard, a clock that can be set, and Flower's way in."""

    def __init__(self, folder: Path, key: Ed25519PrivateKey, policy: Policy) -> None:
        self.now = NOON
        self.key = key
        self.path = folder / "ledger.db"
        self.ledger = Ledger.create(self.path, key, policy, clock=self.clock)
        self.guard = Guard(
            ledger=self.ledger,
            egress=folder / "egress.jsonl",
            outbox=folder / "outbox",
            consents=folder / "consents.csv",
            clock=self.clock,
        )
        rng = np.random.default_rng(1)
        faces = FaceSet(
            rng.integers(0, 256, (SIZE, 48, 48)).astype(np.uint8),
            np.arange(SIZE) % 7,
            np.arange(SIZE),
        )
        self.site = Site("hospital-1", SIZE, faces, None, "image", self.guard, "seeded")
        self.app = client_app(lambda context: self.site)

    def clock(self) -> datetime:
        return self.now

    def gets(self, content: RecordDict, kind: str = "train") -> Message:
        message = Message(content=content, dst_node_id=1, message_type=kind)
        message.metadata.__dict__["_message_id"] = "1"
        context = Context(1, 1, {}, RecordDict(), {})
        return self.app(message, context)

    def does(self, order: Order) -> Message:
        return self.gets(pack_orders({1: order})[1])

    def left(self) -> list[Departure]:
        return list(read_departures(self.guard.egress))

    def spent(self) -> tuple[float, float]:
        now = read_standing(self.path)
        return now.epsilon_spent, now.epsilon_reserved


@pytest.fixture
def hospital(tmp_path: Path, key: Ed25519PrivateKey, policy: Policy) -> Hospital:
    return Hospital(tmp_path, key, policy)


def order(arrays: Arrays, *, number: int = 2, noise: float | None = 3.0) -> Order:
    return Order(
        round=number,
        task="train",
        arrays=arrays,
        training=TrainingConfig(model="scatter", batch_size=0),
        learning_rate=1.0,
        resolution=48,
        noise_multiplier=noise,
        clipping_norm=0.5,
        seed=1,
        study="study",
        run="run",
    )


def refusal_of(reply: Message) -> str:
    with pytest.raises(RefusedError) as caught:
        read_update(reply)
    return str(caught.value).removeprefix("refused by the hospital: ")


def on_the_wire(reply: Message) -> bytes:
    return bytes(recorddict_to_proto(reply.content).SerializeToString(deterministic=True))


def test_an_order_is_charged_before_data_is_read_and_settled_when_it_leaves(
    hospital: Hospital, arrays: Arrays, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[float, float]] = []

    class Watched(FaceSet):
        @property
        def images(self) -> np.ndarray:  # type: ignore[override, type-arg]
            seen.append(hospital.spent())
            return hospital_images

    hospital_images = hospital.site.faces.images
    faces = hospital.site.faces
    watched = object.__new__(Watched)
    for name in ("labels", "patients"):
        object.__setattr__(watched, name, getattr(faces, name))
    hospital.site = replace(hospital.site, faces=watched)
    update = read_update(hospital.does(order(arrays)))
    one = epsilon_of([GaussianEvent(3.0)], delta=DELTA)
    assert seen
    assert set(seen) == {(0.0, one)}
    assert hospital.spent() == (one, 0.0)
    assert set(update.arrays) == set(arrays)
    assert verify(hospital.path, hospital.key.public_key()).entries == 4


def test_what_leaves_is_what_ledger_and_egress_log_say(hospital: Hospital, arrays: Arrays) -> None:
    hospital.gets(RecordDict(), "query")
    content = on_the_wire(hospital.does(order(arrays)))
    hello, update = hospital.left()
    assert (hello.kind, update.kind) == ("hello", "update")
    assert (update.size, update.sha256) == (len(content), sha256(content))
    assert update.mechanism == "Gaussian, noise multiplier 3, sampling rate 1, 1 steps"
    assert (update.study, update.run, update.round) == ("study", "run", 2)
    (released,) = [
        record for record in last_records(hospital.path, 9) if isinstance(record, ReleaseRecord)
    ]
    assert (released.sha256, released.size) == (update.sha256, update.size)


def changed(**values: object) -> Callable[[Order], Order]:
    return lambda order: replace(order, **values)  # type: ignore[arg-type]


def trained(**values: object) -> Callable[[Order], Order]:
    return lambda order: replace(order, training=order.training.model_copy(update=values))


@pytest.mark.parametrize(
    ("wish", "word"),
    [
        (changed(noise_multiplier=None), "noise"),
        (changed(noise_multiplier=0.4), "noise"),
        (changed(noise_multiplier=0.51), "total"),
        (trained(epochs=20), "policy"),
        (trained(epochs=10**7), "policy"),
        (changed(records_per_patient=4), "unit"),
        (changed(records_per_patient=10**6), "order"),
        (changed(clipping_norm=0.0), "order"),
        (changed(clipping_norm=-1.0), "order"),
        (changed(study=""), "order"),
        (changed(study="../../etc\nx"), "order"),
        (changed(run="r" * 101), "order"),
        (changed(round=-1), "order"),
        (changed(arrays={"w": np.zeros(3, np.float32)}), "order"),
        (changed(arrays={}), "order"),
    ],
)
def test_a_hostile_wish_is_refused_and_costs_nothing(
    hospital: Hospital, arrays: Arrays, wish: Callable[[Order], Order], word: str
) -> None:
    reply = hospital.does(wish(order(arrays)))
    assert refusal_of(reply) == REFUSALS[word]
    assert hospital.spent() == (0.0, 0.0)
    (line,) = hospital.left()
    assert (line.kind, line.mechanism) == ("refusal", "none: public values alone")
    assert line.size == len(word)
    now = verify(hospital.path, hospital.key.public_key())
    refused = [r for r in last_records(hospital.path, 9) if isinstance(r, RefuseRecord)]
    assert (now.entries, len(refused)) == ((1, 0) if word == "order" else (2, 1))
    assert [record.reason for record in refused] == [word] * len(refused)


def test_another_model_is_refused(hospital: Hospital) -> None:
    other = TrainingConfig(model="lstm", batch_size=8)
    wish = replace(order(initial_arrays(other, 0)), training=other)
    assert refusal_of(hospital.does(wish)) == REFUSALS["policy"]
    assert hospital.spent() == (0.0, 0.0)


def test_statistics_leave_only_where_the_policy_says_so(
    tmp_path: Path, key: Ed25519PrivateKey, policy: Policy, arrays: Arrays
) -> None:
    updates_alone = policy.model_copy(update={"may_leave": ("update",)})
    hospital = Hospital(tmp_path, key, updates_alone)
    wish = replace(order(arrays, number=1), task="statistics")
    assert refusal_of(hospital.does(wish)) == REFUSALS["policy"]


@pytest.mark.parametrize(
    ("record", "name", "value"),
    [
        ("order", "send_losses", True),
        ("order", "round", "2"),
        ("order", "task", "dump"),
        ("order", "learning_rate", float("nan")),
        ("order", "training", '{"model": "scatter", "callback": "os.system"}'),
        ("order", "training", "not json"),
    ],
)
def test_extra_keys_and_malformed_values_are_no_order(
    hospital: Hospital, arrays: Arrays, record: str, name: str, value: object
) -> None:
    content = pack_orders({1: order(arrays)})[1]
    part = content[record]
    assert isinstance(part, ConfigRecord)
    part[name] = value  # type: ignore[assignment]
    assert refusal_of(hospital.gets(content)) == REFUSALS["order"]
    assert hospital.spent() == (0.0, 0.0)


def test_extra_records_are_no_order(hospital: Hospital, arrays: Arrays) -> None:
    content = pack_orders({1: order(arrays)})[1]
    content["more"] = ArrayRecord({"x": Array(np.ones(1, np.float32))})
    assert refusal_of(hospital.gets(content)) == REFUSALS["order"]


def test_the_budget_ends_a_run_and_a_study_of_the_next_day(
    hospital: Hospital, arrays: Arrays
) -> None:
    replies = [hospital.does(order(arrays, number=number)) for number in range(2, 22)]
    done = [reply for reply in replies if not reply.has_error()]
    fits = max(n for n in range(21) if epsilon_of([GaussianEvent(3.0, 1.0, n)], delta=DELTA) <= 4.0)
    assert 0 < len(done) == fits < 20
    assert refusal_of(replies[-1]) == REFUSALS["total"]
    hospital.now = NOON + timedelta(days=1)
    later = replace(order(arrays, number=1), study="another", run="monday")
    assert refusal_of(hospital.does(later)) == REFUSALS["total"]
    assert hospital.spent() == (epsilon_of([GaussianEvent(3.0, 1.0, fits)], delta=DELTA), 0.0)
    assert [study.refusals for study in read_standing(hospital.path).studies] == [1, 20 - fits]
    hospital.now = NOON + timedelta(days=365)
    assert refusal_of(hospital.does(later)) == REFUSALS["period"]


def test_the_same_order_gets_the_same_bytes_and_is_charged_once(
    hospital: Hospital, arrays: Arrays
) -> None:
    first = on_the_wire(hospital.does(order(arrays)))
    spent = hospital.spent()
    assert on_the_wire(hospital.does(order(arrays))) == first
    assert hospital.spent() == spent
    assert [line.mechanism for line in hospital.left()][1] == (
        "none: the same bytes as before, sent again"
    )
    assert on_the_wire(hospital.does(order(arrays, noise=4.0))) != first
    assert hospital.spent() > spent


@pytest.mark.parametrize("damage", [b"", b"\x80\x04]q\x00.", None])
def test_an_outbox_that_the_ledger_does_not_know_is_not_sent(
    hospital: Hospital, arrays: Arrays, damage: bytes | None
) -> None:
    hospital.does(order(arrays))
    kept = hospital.guard.outbox.read_bytes()
    hospital.guard.outbox.write_bytes(kept[:32] + (kept[32:-1] if damage is None else damage))
    spent = hospital.spent()
    reply = hospital.does(order(arrays))
    assert sha256(on_the_wire(reply)) == hospital.left()[-1].sha256
    assert hospital.spent() > spent


def test_what_fails_after_the_charge_stays_charged_and_tells_nothing(
    hospital: Hospital, arrays: Arrays, monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaks(*given: object, **named: object) -> None:
        raise ValueError("/data/patient-4711.png")

    monkeypatch.setattr(local, "network_inputs", breaks)
    for _ in range(3):  # the same order holds one reservation, however often it comes
        reply = hospital.does(order(arrays))
        assert reply.error.reason == "its own log says why"
    one = epsilon_of([GaussianEvent(3.0)], delta=DELTA)
    assert hospital.spent() == (0.0, one)
    hospital.does(order(arrays, number=3))
    two = epsilon_of([GaussianEvent(3.0, 1.0, 2)], delta=DELTA)
    assert hospital.spent() == (0.0, two)
    monkeypatch.undo()
    read_update(hospital.does(order(arrays)))
    assert sum(hospital.spent()) == two
    assert "4711" not in hospital.guard.egress.read_text()


def test_times_leave_to_the_second(hospital: Hospital, arrays: Arrays) -> None:
    content = pack_orders({1: order(arrays)})[1]
    asked = Message(content=content, dst_node_id=1, message_type="train")
    asked.metadata.__dict__["_message_id"] = "1"
    reply = hospital.app(asked, Context(1, 1, {}, RecordDict(), {}))
    assert reply.metadata.created_at == int(reply.metadata.created_at)
    expiry = asked.metadata.created_at + asked.metadata.ttl
    assert reply.metadata.created_at + reply.metadata.ttl == pytest.approx(expiry, abs=1e-6)


def test_every_message_kind_holds_what_is_declared_and_nothing_else(
    hospital: Hospital, arrays: Arrays, monkeypatch: pytest.MonkeyPatch
) -> None:
    hello = hospital.gets(RecordDict(), "query")
    update = hospital.does(order(arrays))
    refused = hospital.does(order(arrays, noise=None))
    monkeypatch.setattr(local, "network_inputs", None)
    failed = hospital.does(order(arrays, number=3))
    assert read_hello(hello).name == "hospital-1"
    assert {k: dict(v) for k, v in hello.content.items()} == {
        "hello": {"name": "hospital-1", "size": SIZE, "version": read_hello(hello).version}
    }
    assert set(update.content) == {"difference", "update"}
    assert dict(update.content["update"]) == {"round": 2}
    shapes = {name: value.numpy().shape for name, value in update.content["difference"].items()}  # type: ignore[union-attr]
    assert shapes == {name: array.shape for name, array in arrays.items()}
    assert (refused.error.code, refused.error.reason) == (102, "noise")
    assert failed.error.code == 101
    for reply in (refused, failed):
        assert not reply.has_content()
    known = {"hello", "update", "refusal", "failure"}
    assert {line.kind for line in hospital.left()} == known
    written = hospital.guard.egress.read_text().splitlines()
    assert all(set(json.loads(line)) == set(Departure.model_fields) for line in written)


def test_arrays_that_were_not_ordered_do_not_leave(
    hospital: Hospital, arrays: Arrays, monkeypatch: pytest.MonkeyPatch
) -> None:
    def more(after: Arrays, before: Arrays) -> Arrays:
        return {name: after[name] - array for name, array in before.items()} | {
            "loss": np.ones(1, np.float32)
        }

    monkeypatch.setattr(local, "difference", more)
    with pytest.raises(UpdateError, match="its own log says why"):
        read_update(hospital.does(order(arrays)))
    assert [line.kind for line in hospital.left()] == ["failure"]
    assert hospital.spent()[0] == 0.0


def test_counts_leave_with_noise_where_the_policy_says_so(
    tmp_path: Path, key: Ed25519PrivateKey, policy: Policy, arrays: Arrays
) -> None:
    wish = replace(order(arrays, number=9), task="metrics")
    strict = tmp_path / "strict"
    strict.mkdir()
    assert refusal_of(Hospital(strict, key, policy).does(wish)) == REFUSALS["policy"]
    open_minded = policy.model_copy(update={"may_leave": ("metrics",)})
    hospital = Hospital(tmp_path, key, open_minded)
    update = read_update(hospital.does(wish))
    assert {name: array.shape for name, array in update.arrays.items()} == {"counts": (2,)}
    assert abs(float(update.arrays["counts"][1]) - SIZE) < 6 * 3.0 * 2**0.5
    assert hospital.spent() == (epsilon_of([GaussianEvent(3.0)], delta=DELTA), 0.0)
    assert refusal_of(hospital.does(replace(wish, noise_multiplier=None))) == REFUSALS["noise"]


def test_a_patient_who_withdraws_is_left_out_from_the_next_round_on(
    tmp_path: Path,
    key: Ed25519PrivateKey,
    policy: Policy,
    arrays: Arrays,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hospital = Hospital(tmp_path, key, policy.model_copy(update={"consent": "opt-out"}))
    used: list[int] = []
    inputs = local.network_inputs

    def counted(model: str, images: np.ndarray, **named: object) -> object:  # type: ignore[type-arg]
        used.append(len(images))
        return inputs(model, images, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(local, "network_inputs", counted)
    header = "patient,consent,purpose,from,until\n"
    hospital.guard.consents.write_text(header)  # type: ignore[union-attr]
    read_update(hospital.does(order(arrays, number=2)))
    hospital.guard.consents.write_text(f"{header}7,no,*,2026-05-04,\n")  # type: ignore[union-attr]
    read_update(hospital.does(order(arrays, number=3)))
    assert used == [SIZE, SIZE - 1]


@pytest.mark.parametrize("text", [None, "", "patient;consent\n", "patient,consent\n7,maybe\n"])
def test_without_a_readable_list_of_consents_nothing_is_read_or_charged(
    tmp_path: Path, key: Ed25519PrivateKey, policy: Policy, arrays: Arrays, text: str | None
) -> None:
    hospital = Hospital(tmp_path, key, policy.model_copy(update={"consent": "opt-in"}))
    if text is not None:
        hospital.guard.consents.write_text(text)  # type: ignore[union-attr]
    assert refusal_of(hospital.does(order(arrays))) == REFUSALS["consent"]
    assert hospital.spent() == (0.0, 0.0)
    (study,) = read_standing(hospital.path).studies
    assert study.refusals == 1
