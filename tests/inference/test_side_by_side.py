"""Batches beside each other: order, shares of threads, errors, what waits for what; and no change in what is found."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest
import torch

from finespot import images
from finespot.inference import Model
from finespot.inference.side_by_side import side_by_side
from finespot.inference.timing import Timing
from finespot.runtimes import Session
from finespot.structures import Tiling


def test_results_come_in_order_and_run_at_the_same_time() -> None:
    together = threading.Barrier(3, timeout=10)

    def work(item, threads):
        together.wait()  # would time out if fewer than three ran
        time.sleep(0.01 * (9 - item[0]))
        return item[0], threads

    found = list(side_by_side([[number] for number in range(9)], work, 6, 3))
    assert found == [([number], (number, 2)) for number in range(9)]


def test_one_after_the_other_in_the_callers_thread() -> None:
    def work(item, threads):
        return threading.current_thread(), threads

    found = list(side_by_side([[1], [], [2]], work, 4, 1))
    here = threading.current_thread(), 4
    assert found == [([1], here), ([], None), ([2], here)]


def test_what_is_alone_gets_all_threads() -> None:
    def work(item, threads):
        time.sleep(0.2 if item == [2] else 0)
        return threads

    assert list(side_by_side([[1]], work, 4, 4)) == [([1], 4)]
    found = list(side_by_side([[1], [], [2], [3], [], [4]], work, 4, 2))
    assert found == [([1], 4), ([], None), ([2], 2), ([3], 2), ([], None), ([4], 4)]


def test_what_is_behind_an_empty_item_may_depend_on_what_came_before() -> None:
    done: list[int] = []

    def items():
        yield [1]
        yield [2]
        yield []
        assert done == [1, 2]
        yield [3]

    for item, result in side_by_side(items(), lambda item, threads: item[0], 2, 2):
        done += [result] if item else []
    assert done == [1, 2, 3]


def test_an_error_comes_in_its_turn_and_ends_the_workers() -> None:
    def work(item, threads):
        if item[0] == 2:
            raise KeyError(item[0])
        return item[0]

    found, before = [], torch.get_num_threads()
    running = side_by_side([[number] for number in range(6)], work, 2, 2)
    with pytest.raises(KeyError):
        found.extend(item[0] for item, _ in running)
    assert found == [0, 1]
    assert torch.get_num_threads() == before
    assert not [one for one in threading.enumerate() if one.name.startswith("finespot-worker")]


def test_what_was_read_before_an_error_comes_out_first() -> None:
    def items():
        yield from ([0], [1], [2])
        raise OSError("no more")

    def work(item, threads):
        time.sleep(0.02)
        return item[0]

    for at_once in (1, 2):
        found = []
        with pytest.raises(OSError, match="no more"):
            found.extend(item[0] for item, _ in side_by_side(items(), work, 2, at_once))
        assert found == [0, 1, 2]


def test_results_are_handed_out_before_the_next_are_asked_for_in_vain() -> None:
    """No more batches wait than run, so that what is found does not pile up."""
    asked = []

    def items():
        for number in range(20):
            asked.append(number)
            yield [number]

    running = side_by_side(items(), lambda item, threads: item[0], 3, 3)
    next(running)
    time.sleep(0.05)
    assert len(asked) <= 5
    running.close()


@pytest.mark.slow
@pytest.mark.parametrize("batch", [1, 3])
def test_threads_change_nothing_that_is_found(detector, card, samples, batch) -> None:
    pictures = [images.to_rgb8(images.open_image(path).read(None), 8) for path in sorted(samples.rglob("*.jpg"))[:2]]
    pictures.append(np.zeros((100, 90, 3), np.uint8))
    found = []
    for threads in (1, 2, 3):
        model = Model(Session(detector, card=card, threads=threads))
        found.append(list(model.predict(pictures, tiling=Tiling(256, whole=True), conf=0.1, batch=batch, max_det=50)))
        assert model.timing.windows == 2 * 10 + 1
        assert model.timing.cpu["model"] > 0
    assert found[0] == found[1] == found[2]
    assert min(map(len, found[0][:2])) > 5


@pytest.mark.slow
def test_windows_of_one_picture_run_beside_each_other(detector, card) -> None:
    session = Session(detector, card=card, threads=2)
    seen = []

    def look(*_: object) -> None:
        seen.append((threading.current_thread() is threading.main_thread(), torch.get_num_threads()))
        time.sleep(0.2)  # on a busy machine too, the next windows are ready before this one is done

    session._runner.network.register_forward_hook(look)
    model = Model(session)
    picture = np.zeros((320, 320, 3), np.uint8)
    next(model.predict(picture, tiling=Tiling(160, overlap=0)))
    assert seen == [(False, 1)] * 4
    seen.clear()
    next(model.predict(picture, tiling=Tiling(None)))
    assert seen == [(True, 2)]


def test_wall_time_of_a_stage_counts_once_what_ran_at_once() -> None:
    timing = Timing()

    def work():
        with timing.stage("model"):
            time.sleep(0.1)

    begin = timing.idle("model")
    running = [threading.Thread(target=work) for _ in range(3)]
    for one in running:
        one.start()
    for one in running:
        one.join()
    assert 0.1 <= timing.wall["model"] < 0.25
    assert timing.idle("model") - begin < 0.1
    assert timing.wall["decode"] == 0
