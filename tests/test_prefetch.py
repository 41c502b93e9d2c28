from threading import active_count

import pytest

from geobench.features.prefetch import prefetched


def test_items_come_in_their_order_and_end():
    with prefetched(range(100), 3) as items:
        assert list(items) == list(range(100))


def test_no_more_items_are_computed_than_requested_plus_the_depth():
    computed = []

    def forever():
        while True:
            computed.append(len(computed))
            yield len(computed)

    threads = active_count()
    with prefetched(forever(), 3) as items:
        assert [next(items), next(items)] == [1, 2]
    assert len(computed) <= 2 + 3 + 1  # requested, in the queue, and one being computed
    assert active_count() == threads


def test_an_error_is_raised_when_its_item_is_requested():
    with prefetched((1 // (2 - number) for number in range(9)), 4) as items:
        assert (next(items), next(items)) == (0, 1)
        with pytest.raises(ZeroDivisionError):
            next(items)


def test_the_thread_ends_when_the_consumer_fails():
    threads = active_count()
    with pytest.raises(KeyboardInterrupt), prefetched(iter(int, 1), 2) as items:
        next(items)
        raise KeyboardInterrupt
    assert active_count() == threads
