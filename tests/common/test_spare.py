"""Memory that is lent: what fits is used again, and no two have the same."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from fedward.common.spare import Spare

SINGLE, DOUBLE = torch.zeros(0), torch.zeros(0).double()


def test_what_was_given_back_is_lent_again_also_for_less() -> None:
    spare = Spare()
    first = spare.take(10, SINGLE)
    assert len(first) == 10
    spare.give(first)
    assert spare.take(7, SINGLE) is first
    assert spare.take(7, SINGLE) is not first


def test_the_best_fit_is_lent() -> None:
    spare = Spare()
    large, small = spare.take(10, SINGLE), spare.take(5, SINGLE)
    spare.give(large)
    spare.give(small)
    assert spare.take(4, SINGLE) is small
    assert spare.take(4, SINGLE) is large


def test_other_numbers_need_other_memory() -> None:
    spare = Spare()
    spare.give(spare.take(10, SINGLE))
    assert spare.take(10, DOUBLE).dtype is torch.float64


def test_what_is_too_small_makes_room() -> None:
    spare = Spare()
    spare.give(spare.take(5, SINGLE))
    spare.give(spare.take(6, SINGLE))
    assert spare._waiting == [] or len(spare._waiting) == 1
    assert [len(tensor) for tensor in spare._waiting] == [6]


@given(st.lists(st.tuples(st.integers(1, 50), st.booleans()), max_size=40))
def test_nothing_is_lent_twice_and_no_more_is_kept_than_was_lent_at_once(
    wishes: list[tuple[int, bool]],
) -> None:
    spare, lent, most = Spare(), [], 0
    for count, returned in wishes:
        taken = spare.take(count, SINGLE)
        assert len(taken) >= count
        assert all(taken is not other for other in lent)
        lent.append(taken)
        most = max(most, len(lent))
        if returned:
            spare.give(lent.pop(0))
        assert len(lent) + len(spare._waiting) <= most
