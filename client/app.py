"""The hospital's side of Flower: a ClientApp that answers two questions, through one gate.

An exception's text may hold a path, a value or an id of a patient, and Flower would send it to the
aggregator word for word; even its kind can depend on the data. So every exception is logged here,
at the hospital, and the aggregator is told that the order failed.
"""

import logging
from collections.abc import Callable
from contextlib import nullcontext

from flwr.app import Context, Message
from flwr.clientapp import ClientApp

from fedward import __version__
from fedward.client.gate import Answer, let_out
from fedward.client.round import answer
from fedward.client.site import Site
from fedward.common.errors import UpdateError
from fedward.common.messages import Failed, Hello, Refused
from fedward.common.wire import read_order

log = logging.getLogger("fedward.client")


def client_app(open_site: Callable[[Context], Site]) -> ClientApp:
    """The app of a hospital whose site ``open_site`` opens, from Flower's context.

    The same app serves the simulator and a deployment; they differ in where the site's faces are.
    """
    app = ClientApp()

    @app.query()
    def introduce(message: Message, context: Context) -> Message:
        return _answered(message, context, lambda site: Hello(site.name, site.size, __version__))

    @app.train()
    def train(message: Message, context: Context) -> Message:
        return _answered(message, context, lambda site: _to_order(message, site))

    def _answered(message: Message, context: Context, say: Callable[[Site], Answer]) -> Message:
        guard = None
        try:
            site = open_site(context)
            guard = site.guard
            with guard.ledger.kept_open() if guard else nullcontext():
                return let_out(say(site), message, guard)
        except Exception:
            log.exception("this order failed")
            return let_out(Failed(), message, guard)

    return app


def _to_order(message: Message, site: Site) -> Answer:
    try:
        order = read_order(message)
    except UpdateError as error:
        log.warning("this is no order: %s", error)
        return Refused("order")
    return answer(order, site)
