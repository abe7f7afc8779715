"""What the template of hospitals' processes asks before it forks."""

from fedward.sims.worker import _missing


def test_what_is_there_is_not_asked_for_again() -> None:
    def absent() -> bool:
        return False

    assert _missing([lambda: True, absent]) == [absent]


def test_an_unreadable_cache_is_left_to_the_order_to_report() -> None:
    def unreadable() -> bool:
        raise PermissionError

    checks = [lambda: True, unreadable]
    assert _missing(checks) == checks
