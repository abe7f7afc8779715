"""The hospital's side of Flower: a ClientApp that answers two questions and lets nothing else out.

An exception's text may hold a path, a value or an id of a patient, and Flower would send it to the
aggregator word for word. So every exception is logged here, at the hospital, and the aggregator is
told its kind alone.
"""

import logging
from collections.abc import Callable

from flwr.app import Context, Error, Message, RecordDict
from flwr.clientapp import ClientApp

from fedward import __version__
from fedward.client.local import carry_out
from fedward.client.site import Site
from fedward.common.messages import Hello, pack_hello, pack_update, read_order

FAILED = 101  # any code above Flower's own; the reason carries the kind

log = logging.getLogger("fedward.client")


def client_app(open_site: Callable[[Context], Site]) -> ClientApp:
    """The app of a hospital whose site ``open_site`` opens, from Flower's context.

    The same app serves the simulator and a deployment; they differ in where the site's faces are.
    """
    app = ClientApp()

    @app.query()
    def introduce(message: Message, context: Context) -> Message:
        def answer() -> RecordDict:
            site = open_site(context)
            return pack_hello(Hello(site.name, site.size, __version__))

        return _guarded(message, answer)

    @app.train()
    def train(message: Message, context: Context) -> Message:
        def answer() -> RecordDict:
            return pack_update(carry_out(read_order(message), open_site(context)))

        return _guarded(message, answer)

    return app


def _guarded(message: Message, answer: Callable[[], RecordDict]) -> Message:
    try:
        return Message(content=answer(), reply_to=message)
    except Exception as error:
        log.exception("this order failed")
        return Message(error=Error(code=FAILED, reason=type(error).__name__), reply_to=message)
