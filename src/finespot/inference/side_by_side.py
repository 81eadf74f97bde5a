"""Several batches at once, each on its share of the CPU threads, results in the order of the batches.

Threads inside one operator wait for each other at the end of every operator of a network, a few hundred times a
window, and by default they wait by spinning: on cores that other programs use too, two of them took 13 times the CPU
time of one. Batches that run beside each other wait once, at their end, and give the same numbers. What is alone gets
all threads inside its operators.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

import torch

from finespot.runtimes.torch_eager import take_threads

# Each holds the maps of its batch; and what Python does between operators runs in one thread at a time.
MOST_AT_ONCE = 8

T = TypeVar("T", bound=Sequence[Any])
R = TypeVar("R")


def side_by_side(
    items: Iterable[T], work: Callable[[T, int], R], threads: int, at_once: int
) -> Iterator[tuple[T, R | None]]:
    """Each item with what `work(item, its threads)` gives, in order, up to `at_once` of them at the same time.

    While the caller looks at a result, the next ones are made. `items` are asked for one item ahead of the work; an
    empty one is handed on without work, and only what comes behind it may depend on the results before it. Of `threads`
    each gets an equal share, or all where nothing runs beside it.

    An error of an item, or of `items`, is raised in its turn. Closing the iterator waits for what runs.
    """
    asked = iter(items)
    if at_once == 1:
        yield from ((item, work(item, threads) if item else None) for item in asked)
        return
    errors: list[Exception] = []

    def ask() -> T | None:
        try:
            return next(asked, None)
        except Exception as error:  # what was asked for before it comes out first
            errors.append(error)
            return None

    before, share = torch.get_num_threads(), threads // at_once
    running: deque[tuple[T, Future[R]]] = deque()
    pool = ThreadPoolExecutor(at_once, "finespot-worker", take_threads, (share,))
    try:
        item = ask()
        while item is not None:
            following = ask() if item else None
            if not item:
                yield item, None
                following = ask()
            elif not running and not following:
                yield item, work(item, threads)
            else:
                running.append((item, pool.submit(work, item, share)))
            while running and (not following or len(running) > at_once or running[0][1].done()):
                done, future = running.popleft()
                yield done, future.result()
            item = following
        if errors:
            raise errors[0]
    finally:
        for _, future in running:
            future.cancel()
        pool.shutdown()
        # What the workers set for themselves is also what threads that start later would take over.
        torch.set_num_threads(before)
