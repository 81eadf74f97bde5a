"""Detection in a raster of any size: row of windows by row of windows, in bounded memory.

Each window is read where it lies, is prepared and run by the pipeline of pictures (`walk`), and what was found in it
goes, unmerged, to `RowMerge`, which hands out detections as soon as no later window can change them. A row never shares
a batch with the next one, so that a run that was killed and goes on at a row computes the same.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

import finespot
from finespot.errors import FineSpotError
from finespot.images import RasterView
from finespot.inference.chooser import PartChooser, Seeks
from finespot.inference.fingerprint import digest
from finespot.inference.journal import Journal, PartRecord, RowRecord
from finespot.inference.pipeline import Settings, walk
from finespot.inference.skipping import TileView
from finespot.inference.sources import Entry, as_image
from finespot.inference.timing import Timing
from finespot.inference.windows import WindowView
from finespot.runtimes import Session
from finespot.structures import Detections, Tile
from finespot.tiling import Mask, Part, Polygons, Region, RowMerge, grid, rows_of

# How far beyond the edge of its window a box may lie, in pixels of the network input, if that is more than the window's
# side: farther than a head with distances in 16 steps of its coarsest stride reaches, trained or not.
_REACH = 768


@dataclass
class RasterRun:
    """Detection in one raster; iterate over it once.

    It gives detections in pixels of the raster, some at a time: what became final after a row, by falling score.

    Parameters
    ----------
    view:
        The raster as the network sees it.
    settings:
        How windows are walked, with a tiling of a size. `max_det` does not count here: see `most`.
    most:
        The best of the whole raster, at most so many; None for all.
    region:
        In pixels of the view: windows that share nothing with it are left out, and detections whose center it does not
        hold. None for everywhere.
    seeker:
        Looks at each window first: the network sees the parts of it that may hold something. None for all of them.
    journal:
        Where finished rows are put down, and taken from; None keeps none.
    advance:
        Called for each window that is done or left out.
    note:
        Called with where a network on windows looked in each window of the raster, if `settings` watch it.

    Attributes
    ----------
    windows, empty, outside, cold, seen, worth:
        Windows in all, and of those up to now: how many held nothing but nodata, lay outside the region, or had nothing
        hot; how many windows, or parts of them, ran, and as how many these count by area.
    timing:
        Where the time went; a window counts as a picture.
    """

    session: Session
    view: RasterView
    settings: Settings
    most: int | None = None
    region: Region | None = None
    seeker: Seeks | None = None
    journal: Journal | None = None
    advance: Callable[[], None] = lambda: None
    note: Callable[[WindowView], None] = lambda view: None
    timing: Timing = field(default_factory=Timing)
    empty: int = field(default=0, init=False)
    outside: int = field(default=0, init=False)
    cold: int = field(default=0, init=False)
    seen: int = field(default=0, init=False)
    worth: float = field(default=0.0, init=False)
    found: int = field(default=0, init=False)
    # Of this run, without the rows that a killed one had: windows that hold data, as many as ran by area, and the
    # seeker's milliseconds.
    _looked: int = field(default=0, init=False)
    _ran: float = field(default=0.0, init=False)
    _seeker_ms: float = field(default=0.0, init=False)

    def __post_init__(self) -> None:
        tiling = self.settings.scaling.tiling
        if tiling is None or tiling.size is None:
            raise FineSpotError("a raster is read by windows", where="slice", hint="give their side, such as 640")
        if tiling.whole:
            raise FineSpotError("a raster is not looked at as a whole", where="slice-whole")
        self._tiling = tiling
        self._rows = rows_of(grid(self.view.size, tiling))
        # Each window is a picture of its own to the pipeline, which scales it as a window of the tiling.
        self._settings = replace(self.settings, keep_parts=True, keep_pixels=False, skip_unreadable=False)
        if not any(any(self._inside(row)) for row in self._rows):
            raise FineSpotError("expected a region in the raster but it lies outside of it", where="roi")

    @property
    def windows(self) -> int:
        """How many windows there are in all."""
        return sum(map(len, self._rows))

    @property
    def rows(self) -> int:
        """How many rows of windows there are."""
        return len(self._rows)

    def fingerprint(self) -> dict[str, Any]:
        """What decides what is found, as plain values."""
        settings, session, view = self.settings, self.session, self.view
        stretch, tiling = view.stretch, settings.scaling.tiling
        return {
            "version": finespot.__version__,
            "raster": view.raster.signature(),
            "weights": digest(session.detector),
            "scale": list(view.size),
            "stretch": None if stretch is None else [list(stretch.low), list(stretch.high)],
            "tiling": None if tiling is None else tiling.to_dict(),
            "imgsz": settings.scaling.imgsz,
            "conf": settings.conf,
            "iou": settings.iou,
            "nms": settings.nms,
            "max_det": self.most,
            "classes": settings.classes,
            "batch": settings.batch,
            "runtime": [session.runtime, str(session.device), session.precision, session.threads],
            "region": None if self.region is None else _mark(self.region),
            "seeker": None if self.seeker is None else self.seeker.fingerprint(),
        }

    def __iter__(self) -> Iterator[Detections]:
        chunks = self._chunks()
        if self.most is None:
            yield from chunks
            return
        kept = list(chunks)
        yield _best(kept, self.most, self._nothing())

    def summary(self) -> list[str]:
        """What was left out and what it spared, one line each."""
        lines = []
        if self.empty:
            told = f"{self.empty} of {self.windows} windows hold nothing but nodata and were not run"
            spared = self.empty * self.timing.wall["model"] / self._ran if self._ran else None
            lines.append(told if spared is None else f"{told}: about {spared:.1f} s saved")
        if self.outside:
            lines.append(f"{self.outside} of {self.windows} windows lie outside the region and were not read")
        if self.seeker is not None:
            there = self.windows - self.empty - self.outside
            skipped = 100 * (1 - self.worth / max(1, there))
            told = f"{skipped:.0f} % of {there} windows skipped: {self.cold} had nothing hot, "
            told += f"of the others {self.seen} parts ran, as much as {self.worth:.1f} windows"
            if self.seeker.lost is not None:
                told += f", {100 * self.seeker.lost:.1f} % of objects lost on val"
            known = self.seeker.recall
            lines.append(told if known is None else f"{told} (seeker calibrated for {100 * known:g} %)")
            if self._ran:
                window, look = 1000 * self.timing.wall["model"] / self._ran, self._seeker_ms / self._looked
                gain = ((self._looked - self._ran) * window - self._seeker_ms) / 1000
                lines.append(
                    f"a window takes {window:.1f} ms, the seeker {look:.1f} ms of each: about {abs(gain):.1f} s "
                    f"{'saved' if gain >= 0 else 'lost'}"
                )
        if self.timing.windows:
            model, what = self.timing.wall["model"] / self.timing.windows, "part" if self.seeker else "window"
            lines.append(
                f"{self.timing.windows} {what}s in {self.timing.total:.1f} s: "
                f"{1000 * self.timing.total / self.timing.windows:.1f} ms a {what}, of these {1000 * model:.1f} in the "
                f"network; {100 * self.timing.waiting / max(self.timing.total, 1e-9):.0f} % waiting for windows"
            )
        return lines

    def _chunks(self) -> Iterator[Detections]:
        tiling = self.settings.scaling.tiling
        side = self.view.size[0] if tiling is None or tiling.size is None else tiling.size
        merging = RowMerge(
            size=self.view.size,
            classes=self.session.classes,
            nms=self.settings.suppressor,
            iou=self.settings.iou,
            suppress=self.session.head.suppress or self.windows > 1,
            conf=self.settings.conf,
            reach=max(side, _REACH / self.settings.scaling.factor((side, side))),
            source=self.view.raster.path,
        )
        known = [] if self.journal is None else self.journal.rows
        for number, row in enumerate(self._rows):
            record = known[number] if number < len(known) else self._run(number, row)
            self.empty += record.empty
            self.outside += record.outside
            self.cold += record.cold
            self.seen += record.seen
            self.worth += record.worth
            if number < len(known):
                for _ in row:
                    self.advance()
            following = self._rows[number + 1][0] if number + 1 < len(self._rows) else None
            parts = [one.part(self.view.size) for one in record.parts]
            found = self._in_raster(merging.add(parts, following))
            self.found += len(found)
            if len(found):
                yield found
        if self.empty == self.windows - self.outside:
            raise FineSpotError("expected data but the raster holds nothing but nodata", where=self.view.raster.path)

    def _run(self, number: int, row: Sequence[Tile]) -> RowRecord:
        """Run the windows of a row and put down what was found."""
        wanted = [tile for tile, there in zip(row, self._inside(row)) if there]
        for _ in range(len(row) - len(wanted)):
            self.advance()
        tiles: list[Tile] = []
        record = RowRecord(number, empty=0, outside=len(row) - len(wanted), cold=0, seen=0, worth=0.0, parts=[])
        settings = self._settings
        if self.seeker is not None:
            settings = replace(
                settings, chooser=PartChooser(self._tiling, self.seeker, self.view.size, tiles, self.region)
            )
        for outcome in walk(self.session, self._entries(wanted, tiles), settings, self.timing):
            tile = tiles[outcome.index]
            record.parts += [PartRecord.of(self._moved(part, tile)) for part in outcome.parts if len(part.boxes)]
            record.seen += len(outcome.parts)
            record.cold += not outcome.parts
            if isinstance(outcome.view, TileView):
                record.worth += outcome.view.worth
                self._seeker_ms += outcome.view.seeker_ms
            else:
                record.worth += 1
            if isinstance(outcome.view, WindowView):
                self.note(outcome.view)
            self.advance()
        record.empty = len(wanted) - len(tiles)
        self._looked, self._ran = self._looked + len(tiles), self._ran + record.worth
        if self.journal is not None:
            self.journal.add(record)
        return record

    def _inside(self, row: Sequence[Tile]) -> list[bool]:
        """Which windows of a row share something with the region."""
        if self.region is None:
            return [True] * len(row)
        touched: list[bool] = self.region.touching([tile.window for tile in row]).tolist()
        return touched

    def _entries(self, wanted: Sequence[Tile], tiles: list[Tile]) -> Iterator[Entry]:
        """The windows that hold data, read one by one; each is added to `tiles`."""
        name = self.view.raster.path
        for tile in wanted:
            pixels, some = self.view.read(tile.window)
            if not some:
                self.advance()
                continue
            tiles.append(tile)
            yield Entry(name, lambda pixels=pixels: as_image(pixels, name))  # type: ignore[misc]

    def _moved(self, part: Part, tile: Tile) -> Part:
        """A part of a window's own picture as one of the raster's view."""
        assert part.window is not None
        x, y = tile.window[:2]
        x1, y1, x2, y2 = part.window
        placement = replace(part.placement, size=self.view.size, origin=(float(x + x1), float(y + y1)))
        return replace(part, placement=placement, window=(x + x1, y + y1, x + x2, y + y2))

    def _in_raster(self, found: Detections) -> Detections:
        if self.region is not None and len(found):
            found = found.select(self.region.contains((found.boxes[:, :2] + found.boxes[:, 2:]) / 2))
        boxes = self.view.to_raster(found.boxes).astype(np.float32)
        return replace(found, boxes=boxes, size=self.view.raster.size)

    def _nothing(self) -> Detections:
        return Detections.empty(self.view.raster.size, self.session.classes, self.view.raster.path)


def _best(found: Sequence[Detections], most: int, nothing: Detections) -> Detections:
    """The `most` best of detections in one picture, by falling score."""
    if not found:
        return nothing
    boxes, scores, labels = (
        np.concatenate([getattr(one, name) for one in found]) for name in ("boxes", "scores", "labels")
    )
    order = np.argsort(-scores, kind="stable")[:most]
    return replace(nothing, boxes=boxes[order], scores=scores[order], labels=labels[order])


def _mark(region: Region) -> str:
    """A mark of a region."""
    mark = hashlib.sha256()
    if isinstance(region, Mask):
        mark.update(np.array(region.pixels.shape).tobytes() + np.packbits(region.pixels).tobytes())
        return mark.hexdigest()
    assert isinstance(region, Polygons)
    for polygon in region.polygons:
        for ring in polygon:
            mark.update(np.array(ring.shape).tobytes() + ring.tobytes())
    return mark.hexdigest()
