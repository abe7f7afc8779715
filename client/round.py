"""One order at one hospital, from what was asked to what is answered. It reads like the promise.

is it an order at all        else Refused, nothing charged
was it answered before       then the same bytes again, nothing charged
does it fit the budget       else Refused, and written down
(from here on data is read)
train on who consents        what goes wrong stays charged
let it out                   when the ledger has it on the disk (client/gate.py)
"""

import logging
from dataclasses import replace

from torch.nn import Module

from fedward.client.gate import Answer, Released, SentAgain
from fedward.client.guard import Guard
from fedward.client.local import prepared, trained
from fedward.client.site import Site
from fedward.common.errors import BudgetError, ConfigError, ModelError
from fedward.common.messages import Order, Refused
from fedward.common.wire import digest_of

log = logging.getLogger("fedward.client")


def answer(order: Order, site: Site) -> Answer:
    """What a hospital answers to an order.

    Raises:
        FedwardError: the order was good and could not be carried out; it stays charged.
    """
    try:
        model = prepared(order)
    except (ModelError, ConfigError) as error:
        log.warning("order refused: %s", error)
        return Refused("order")
    if site.guard is None:
        return Released(trained(model, order, site), order, None)
    return _paid(model, order, site, site.guard)


def _paid(model: Module, order: Order, site: Site, guard: Guard) -> Answer:
    """The answer of a hospital that keeps a budget."""
    digest = digest_of(order)
    content = guard.sent_before(digest)
    if content is not None:
        return SentAgain(content, order)
    try:
        charge = guard.charge(
            order, digest, size=site.size, unit=site.unit, randomness=site.randomness
        )
    except BudgetError as error:
        log.warning("order refused: %s", error)
        return Refused(error.reason)
    except ConfigError as error:
        log.warning("order refused: %s", error)
        return Refused("order")
    consenting = replace(site, faces=guard.consenting(site.faces, order.study))
    return Released(trained(model, order, consenting), order, charge)
