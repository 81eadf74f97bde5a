"""From how many windows on the whole map is quicker: by a clock of the test's own, and how it acts."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from finespot import zoo
from finespot.errors import FineSpotError
from finespot.inference import calibrated, find_break_even
from finespot.runtimes import Session


@pytest.fixture
def session() -> Session:
    torch.manual_seed(0)
    return Session(zoo.build(zoo.architecture("esod-yolov8n", 2, core=8, halo=4, threshold=0.4)), threads=1)


def timed(session: Session, monkeypatch: pytest.MonkeyPatch, start: float, slope: float, whole: float) -> list[Any]:
    """Let windows take start + slope x occupancy seconds, and the whole map `whole`; the numbers that were run."""
    seen: list[Any] = []
    network = session.network

    def look(images: torch.Tensor) -> None:
        grid = network.windows.grid((images.shape[2] // 8, images.shape[3] // 8))
        seen.append(network.windows.budget)
        seconds = whole if network.windows.dense_above == 0 else start + slope * network.windows.budget * grid.share
        network.laps = {"stem and seeker": 9.0, "gathering": seconds / 4, "tail and head": seconds * 3 / 4}

    monkeypatch.setattr(session, "look", look)
    return seen


def test_where_a_line_through_the_times_meets_the_whole_map(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    rule = session.network.windows
    counts = timed(session, monkeypatch, 0.1, 0.5, 0.4)
    found = find_break_even(session, (250, 256), rounds=2)
    assert (found.size, found.occupancy) == ((256, 256), pytest.approx(0.6))
    assert found.whole_ms == pytest.approx(400)
    assert found.windows_ms[-1] == (pytest.approx(4.0), pytest.approx(2100))
    assert counts == 3 * [None, 1, 4, 8, 12, 16]
    assert session.network.windows == rule
    assert session.network.laps is None


@pytest.mark.parametrize(
    ("start", "slope", "whole", "occupancy"),
    [
        (0.3, 0.0, 0.4, 4),  # never dense within a picture
        (0.5, -0.05, 0.4, 4),
        (0.3, 0.0, 0.2, 0),  # always
        (0.5, -0.05, 0.2, 0),
        (0.3, 0.1, 0.2, 0),
    ],
)
def test_what_does_not_rise_is_all_or_nothing(
    session: Session, monkeypatch: pytest.MonkeyPatch, start: float, slope: float, whole: float, occupancy: float
) -> None:
    timed(session, monkeypatch, start, slope, whole)
    assert find_break_even(session, (256, 256), rounds=1).occupancy == occupancy


@pytest.mark.slow
def test_a_real_clock_and_what_is_stored_acts(session: Session) -> None:
    found = find_break_even(session, (128, 256), rounds=1)
    assert found.whole_ms > 0
    assert all(ms > 0 for _, ms in found.windows_ms)
    for limit, whole in ((0.1, True), (9.0, False)):
        card = calibrated(session, dense_above=limit, threshold=0.0)
        made = zoo.build(card.architecture).eval()
        assert ("origins" not in made(torch.rand(1, 3, 128, 256))) == whole


@pytest.mark.slow
def test_cells_that_the_weights_store_do_not_matter() -> None:
    """There is no truth for an oracle, and of noise no cell is likely."""
    made = zoo.build(zoo.architecture("esod-yolov5s", 2, core=8, halo=4, cells="oracle"))
    session, rule = Session(made, threads=1), made.windows
    assert find_break_even(session, (192, 192), rounds=1).whole_ms > 0
    assert session.network.windows == rule


@pytest.mark.slow
def test_what_cannot_be_timed(session: Session) -> None:
    with pytest.raises(FineSpotError, match="dense: expected a picture of several windows but got 64 x 64"):
        find_break_even(session, (64, 64))
    assert session.network.laps is None
    plain = Session(zoo.build(zoo.architecture("yolov8n", 2)), threads=1)
    with pytest.raises(FineSpotError, match="does not choose windows"):
        find_break_even(plain, (256, 256))
    session.network.windows = replace(session.network.windows, form="shifted", sides=4)
    assert find_break_even(session, (256, 256), rounds=1).size == (256, 256)
