from threading import active_count

import pytest

from geobench.features.prefetch import ahead


def test_items_come_in_their_order_and_end():
    with ahead(range(100), 3) as items:
        assert list(items) == list(range(100))


def test_no_more_is_made_than_is_asked_for_and_the_few_ahead():
    made = []

    def forever():
        while True:
            made.append(len(made))
            yield len(made)

    threads = active_count()
    with ahead(forever(), 3) as items:
        assert [next(items), next(items)] == [1, 2]
    assert len(made) <= 2 + 3 + 1  # asked for, waiting, and one in the making
    assert active_count() == threads


def test_an_error_is_raised_where_the_item_is_wanted():
    with ahead((1 // (2 - number) for number in range(9)), 4) as items:
        assert (next(items), next(items)) == (0, 1)
        with pytest.raises(ZeroDivisionError):
            next(items)


def test_the_thread_ends_when_the_one_who_wants_its_work_fails():
    threads = active_count()
    with pytest.raises(KeyboardInterrupt), ahead(iter(int, 1), 2) as items:
        next(items)
        raise KeyboardInterrupt
    assert active_count() == threads
