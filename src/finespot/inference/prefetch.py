"""An iterator read ahead by one background thread, within a limit of memory.

One thread is enough: reading a picture takes less than running a network on it, and JPEG decoding releases Python's
lock. More threads would take the cores that the network runs on.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

T = TypeVar("T")


class Prefetch(Generic[T]):
    """Iterates over `items` while a thread reads ahead.

    Parameters
    ----------
    items:
        Read in the thread, once.
    weigh:
        Bytes of one item.
    limit:
        The thread rests while two or more items of together more than `limit` bytes wait.
    clock:
        What `waited` is measured by.

    An error in `items` is raised by `next` after the items before it. `close` ends the thread.
    """

    def __init__(
        self,
        items: Iterator[T],
        weigh: Callable[[T], int],
        limit: int,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.waited = 0.0
        self._items, self._weigh, self._limit, self._now = items, weigh, limit, clock
        self._ready: deque[T] = deque()
        self._bytes = 0
        self._done = self._closed = False
        self._error: BaseException | None = None
        self._changed = threading.Condition()
        self._clock: int | None = None
        self._cpu = 0.0
        self._thread = threading.Thread(target=self._run, name="finespot-reader", daemon=True)
        self._thread.start()

    def __iter__(self) -> Iterator[T]:
        return self

    def __next__(self) -> T:
        with self._changed:
            if not self._ready and not self._done:
                start = self._now()
                self._changed.wait_for(lambda: self._ready or self._done)
                self.waited += self._now() - start
            if self._ready:
                item = self._ready.popleft()
                self._bytes -= self._weigh(item)
                self._changed.notify()
                return item
        if self._error is not None:
            error, self._error = self._error, None
            raise error
        raise StopIteration

    def close(self) -> None:
        """End reading ahead and wait until the thread has ended."""
        with self._changed:
            self._closed = True
            self._ready.clear()
            self._changed.notify_all()
        self._thread.join()

    def cpu_time(self) -> float:
        """CPU seconds that the thread has used; 0 where the system does not tell."""
        if self._clock is not None:
            try:
                return time.clock_gettime(self._clock)
            except OSError:  # the thread has ended
                pass
        return self._cpu

    def _run(self) -> None:
        if hasattr(time, "pthread_getcpuclockid"):
            self._clock = time.pthread_getcpuclockid(threading.get_ident())
        try:
            for item in self._items:
                with self._changed:
                    self._changed.wait_for(self._has_space)
                    if self._closed:
                        break
                    self._ready.append(item)
                    self._bytes += self._weigh(item)
                    self._changed.notify()
        except BaseException as error:  # handed to the reader, whatever it is
            self._error = error
        finally:
            self._cpu = time.thread_time() if self._clock is not None else 0.0
            if hasattr(self._items, "close"):
                self._items.close()
            with self._changed:
                self._done = True
                self._changed.notify_all()

    def _has_space(self) -> bool:
        return self._closed or len(self._ready) < 2 or self._bytes < self._limit
