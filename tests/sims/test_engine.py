"""The engine, and Flower's internals that it relies on."""

import ast
import inspect
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from queue import Queue
from typing import cast

import flwr
import psutil
import pytest
from flwr.app import Context, Message, RecordDict
from flwr.proto.task_pb2 import Task
from flwr.server.superlink.fleet.vce import vce_api
from flwr.server.superlink.fleet.vce.backend.backend import Backend
from flwr.server.superlink.linkstate import InMemoryLinkState, LinkStateFactory
from flwr.server.superlink.linkstate.in_memory_linkstate import RunRecord
from flwr.simulation.run_simulation import run_simulation
from flwr.supercore.constant import FLWR_IN_MEMORY_DB_NAME, NOOP_FEDERATION_ID
from flwr.supercore.object_store import ObjectStoreFactory
from flwr.supercore.run import Run
from flwr.supercore.task_identity import TaskIdentity
from flwr.superlink.federation import NoOpFederationManager
from flwr.superlink.grid import InMemoryGrid

from fedward.common.config import DataConfig, HospitalsConfig, Study, TrainingConfig
from fedward.common.errors import RunError
from fedward.common.messages import Order
from fedward.common.wire import pack_orders, read_hello, read_update
from fedward.server.evaluate import initial_arrays
from fedward.sims.engine import (
    LOOK_EVERY_S,
    RAY_MODULE,
    ForkBackend,
    hand_over_orders,
    install,
)
from fedward.sims.template import template

STUDY = Study(
    name="engine",
    data=DataConfig(synthetic_patients=40, synthetic_images_per_patient=3),
    hospitals=HospitalsConfig(count=2, alpha=None),
    training=TrainingConfig(model="lstm", epochs=1),
)


def test_flower_is_the_series_whose_internals_are_known() -> None:
    assert flwr.__version__.startswith("1.41."), "read sims/engine.py against this Flower first"


def test_flower_imports_its_backend_lazily_by_the_name_we_take() -> None:
    source = inspect.getsource(vce_api.start_vce)
    assert "from .backend.raybackend import RayBackend" in source
    assert "return RayBackend(backend_config)" in source
    assert f"{vce_api.__package__}.backend.raybackend" == RAY_MODULE


def test_the_backend_interface_is_the_one_we_fill() -> None:
    assert Backend.__abstractmethods__ == {
        "build",
        "is_worker_idle",
        "process_message",
        "terminate",
    }
    assert not inspect.isabstract(ForkBackend)
    assert {"server_app", "client_app", "num_supernodes", "backend_name"} <= set(
        inspect.signature(run_simulation).parameters
    )


def flowers_own(name: str) -> ast.FunctionDef:
    """A function as Flower's file has it, whatever stands in its place in memory."""
    tree = ast.parse(Path(vce_api.__file__).read_text(encoding="utf-8"))
    (found,) = [n for n in tree.body if isinstance(n, ast.FunctionDef) and n.name == name]
    return found


def test_flower_starts_the_function_we_replace_by_its_name_with_these_arguments() -> None:
    original = flowers_own("add_messages_to_queue")
    ours = inspect.signature(hand_over_orders).parameters
    assert [argument.arg for argument in original.args.args] == list(ours)
    assert "target=add_messages_to_queue" in ast.unparse(flowers_own("run_api"))
    assert "f_stop.wait(0.1)" in ast.unparse(original), "is it quick enough now to be left alone?"


def test_install_takes_flowers_place_unless_ray_is_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delitem(sys.modules, RAY_MODULE, raising=False)
    monkeypatch.setattr(vce_api, "add_messages_to_queue", None)
    monkeypatch.setenv("FEDWARD_ENGINE", "ray")
    install()
    assert RAY_MODULE not in sys.modules
    assert vce_api.add_messages_to_queue is None
    monkeypatch.setenv("FEDWARD_ENGINE", "fedward")
    install()
    assert sys.modules[RAY_MODULE].RayBackend is ForkBackend  # type: ignore[attr-defined]
    assert vce_api.add_messages_to_queue is hand_over_orders
    monkeypatch.delitem(sys.modules, RAY_MODULE)


def test_orders_are_handed_over_soon_once_and_in_the_order_of_nodes() -> None:
    factory = LinkStateFactory(
        FLWR_IN_MEMORY_DB_NAME, NoOpFederationManager(), ObjectStoreFactory()
    )
    state = cast(InMemoryLinkState, factory.state())
    run = Run.create_empty(run_id=1)
    run.primary_task_id, run.federation_id = 1, NOOP_FEDERATION_ID
    state.run_ids[1] = RunRecord(run=run)
    state.task_store[1] = Task(task_id=1, run_id=1)
    TaskIdentity.task_id = TaskIdentity.run_id = TaskIdentity.node_id = 1
    nodes = vce_api._register_nodes(3, factory)
    first, second, third = nodes
    grid = InMemoryGrid(factory)
    grid.set_run(run)

    def push(*to: int) -> None:
        grid.push_messages(
            Message(content=RecordDict(), message_type="query", dst_node_id=node) for node in to
        )

    arrived: Queue[Message] = Queue()
    stop = threading.Event()
    push(third, first)
    thread = threading.Thread(target=hand_over_orders, args=(state, arrived, nodes, stop))
    thread.start()
    try:
        assert [arrived.get(timeout=5).metadata.dst_node_id for _ in range(2)] == [first, third]
        push(second, third)
        assert [arrived.get(timeout=5).metadata.dst_node_id for _ in range(2)] == [second, third]
        time.sleep(5 * LOOK_EVERY_S)
        assert arrived.empty()
    finally:
        stop.set()
        thread.join(timeout=5)
    assert not thread.is_alive()


@pytest.fixture
def backend(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[ForkBackend]:
    monkeypatch.delenv("FEDWARD_RUN", raising=False)  # `flwr run` starts the template without
    TaskIdentity.task_id = TaskIdentity.run_id = TaskIdentity.node_id = 1
    engine = ForkBackend({})
    engine.build(lambda: None)  # type: ignore[arg-type, return-value]
    template.deal(STUDY.model_dump_json(), tmp_path)
    yield engine
    engine.terminate()


def context(partition: object = 0) -> Context:
    return Context(
        run_id=1,
        node_id=5,
        node_config={"partition-id": partition},  # type: ignore[dict-item]
        state=RecordDict(),
        run_config={},
    )


def message(kind: str, content: RecordDict) -> Message:
    made = Message(content=content, dst_node_id=5, message_type=kind)
    made.metadata.__dict__["_message_id"] = "m"
    return made


def order(epochs: int) -> Order:
    return Order(
        round=1,
        task="train",
        arrays=initial_arrays(TrainingConfig(model="lstm"), 0),
        training=TrainingConfig(model="lstm", epochs=epochs),
        learning_rate=0.01,
        resolution=48,
        noise_multiplier=None,
        clipping_norm=0.0,
        seed=0,
    )


def test_children_answer_fail_and_die_without_harm(backend: ForkBackend, tmp_path: Path) -> None:
    reply, _ = backend.process_message(message("query", RecordDict()), context())
    assert read_hello(reply).name.startswith("hospital-")
    assert reply.metadata.reply_to_message_id == "m"

    reply, _ = backend.process_message(message("query", RecordDict()), context(99))
    assert reply.error.reason == "its own log says why"
    assert "ConfigError" in (tmp_path / "hospitals.log").read_text(encoding="utf-8")

    outcome: list[object] = []
    endless = message("train", pack_orders({5: order(epochs=100_000)})[5])

    def ask() -> None:
        try:
            outcome.append(backend.process_message(endless, context()))
        except RunError as error:
            outcome.append(error)

    thread = threading.Thread(target=ask)
    thread.start()
    _kill_the_child()
    thread.join(timeout=30)
    assert "process died" in str(outcome[0])

    quick = message("train", pack_orders({5: order(epochs=1)})[5])
    reply, _ = backend.process_message(quick, context(1))
    assert read_update(reply).round == 1


def test_a_lost_template_is_replaced_and_deals_again(backend: ForkBackend) -> None:
    before, _ = backend.process_message(message("query", RecordDict()), context(1))
    (lost,) = _templates()
    lost.kill()
    lost.wait()
    after, _ = backend.process_message(message("query", RecordDict()), context(1))
    assert read_hello(after) == read_hello(before)
    (found,) = _templates()
    assert found.pid != lost.pid


def _templates() -> list[psutil.Process]:
    return [p for p in psutil.Process().children() if "fedward.sims.worker" in p.cmdline()]


def _kill_the_child() -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        children = [child for process in _templates() for child in process.children()]
        if children:
            time.sleep(0.3)
            children[0].kill()
            return
        time.sleep(0.02)
    pytest.fail("no child appeared")


def test_ending_the_engine_ends_a_child_at_work(backend: ForkBackend) -> None:
    endless = message("train", pack_orders({5: order(epochs=100_000)})[5])
    errors: list[Exception] = []

    def ask() -> None:
        try:
            backend.process_message(endless, context())
        except RunError as error:
            errors.append(error)

    thread = threading.Thread(target=ask)
    thread.start()
    while not (family := psutil.Process().children(recursive=True)) or len(family) < 2:
        time.sleep(0.05)
    time.sleep(0.3)
    backend.terminate()
    thread.join(timeout=30)
    assert errors
    with pytest.raises(RunError, match="no hospital is asked any more"):
        backend.process_message(endless, context())
    _, alive = psutil.wait_procs(family, timeout=10)
    assert not alive
