"""Reading ahead: order, memory limit, errors, ending."""

from __future__ import annotations

import threading
import time

import pytest

from finespot.inference.prefetch import Prefetch


def test_order_and_end() -> None:
    ahead = Prefetch(iter(range(100)), lambda item: 1, 5)
    assert list(ahead) == list(range(100))
    with pytest.raises(StopIteration):
        next(ahead)
    ahead.close()


def test_the_limit_holds() -> None:
    made = []

    def items():
        for number in range(20):
            made.append(number)
            yield number

    ahead = Prefetch(items(), lambda item: 10, 40)
    time.sleep(0.1)
    assert len(made) == 5  # four of 10 bytes wait, one more is in the thread's hand
    assert next(ahead) == 0
    ahead.close()
    assert len(made) <= 6


def test_two_items_may_wait_however_large() -> None:
    ahead = Prefetch(iter([1, 2, 3]), lambda item: 1000, 1)
    assert list(ahead) == [1, 2, 3]


def test_errors_come_after_what_was_read() -> None:
    def items():
        yield 1
        raise KeyError("x")

    ahead = Prefetch(items(), lambda item: 1, 10)
    assert next(ahead) == 1
    with pytest.raises(KeyError):
        next(ahead)
    ahead.close()


def test_close_ends_the_thread_and_the_items() -> None:
    ended = threading.Event()

    def items():
        try:
            while True:
                yield 0
        finally:
            ended.set()

    ahead = Prefetch(items(), lambda item: 1, 10)
    next(ahead)
    ahead.close()
    assert ended.is_set()
    assert not ahead._thread.is_alive()


def test_waiting_and_cpu_time_are_counted() -> None:
    def items():
        for number in range(3):
            time.sleep(0.02)
            sum(range(100_000))
            yield number

    ahead = Prefetch(items(), lambda item: 1, 10)
    assert list(ahead) == [0, 1, 2]
    ahead.close()
    assert ahead.waited > 0.03
    assert 0 < ahead.cpu_time() < 1
