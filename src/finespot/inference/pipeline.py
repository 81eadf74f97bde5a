"""The pipeline: source -> Image -> windows -> batch -> Session -> select -> merge -> Detections.

Prediction and validation both walk it; a whole picture is the case of one window. A background thread decodes, chooses
windows, cuts and scales while the network runs; windows of equal shape share a batch, also across pictures. Results
come out picture by picture in the order of the source. On CPUs as many batches run side by side as the session has
threads, and pictures are merged meanwhile. In memory are one decoded picture, what is read ahead of windows, and two
batches of them beside those that run. Where the windows of a picture depend on what came of those before (a video's
last frame, a budget of time), only decoding runs ahead, and no batch reaches over pictures.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from itertools import count

import numpy as np
import torch
from numpy.typing import NDArray

from finespot.boxes import Suppressor, suppressor
from finespot.errors import FineSpotError
from finespot.inference.chooser import Choice, Chooser
from finespot.inference.prefetch import Prefetch
from finespot.inference.prepare import Scaling, place, read_rgb, stack
from finespot.inference.side_by_side import MOST_AT_ONCE, side_by_side
from finespot.inference.skipping import TileView
from finespot.inference.sources import Entry
from finespot.inference.timing import Timing
from finespot.inference.windows import WindowView, WindowWatch, truth_in
from finespot.runtimes import Session
from finespot.structures import Annotations, Classes, Detections, Placement, Size, Window
from finespot.tiling import Part, merge, worth

# Prepared windows and pictures that may wait for the network. Enough for two 9-megapixel pictures with their windows.
_READ_AHEAD_BYTES = 128 << 20
# Of a window: parts that add up to one may miss it by rounding.
_HAIR = 1e-9


@dataclass(frozen=True)
class Settings:
    """How pictures are walked.

    Attributes
    ----------
    scaling:
        How windows are cut and scaled (see `prepare.scaling`).
    conf, iou, max_det:
        Least score, threshold of suppression (IoU above which the lesser of two boxes falls), most detections in a
        picture.
    nms:
        Which suppression, as text (`finespot.boxes.suppressor`), where the tiling names no operator. A head that
        finds no doubles goes without in whole pictures; in tiles it finds an object as often as they show it.
    classes:
        Labels that are looked for; None for all. The others are left out before detections are counted.
    batch:
        Windows that run together at most; of those that a chooser cut down as many as are worth so much.
    multi_label:
        One detection for every class above `conf` at a place (validation), not only the best class.
    keep_pixels, keep_parts:
        Hand out the picture's pixels, and what each of its windows gave, with its detections.
    skip_unreadable:
        Go on after a picture that cannot be read; otherwise the error is raised.
    watch:
        Tells of a network on windows where it looked in each picture, and what that saved.
    chooser:
        Decides which windows of each picture are looked at; None for all of them. It serves one run.
    truth:
        Of each picture by its number, for a network that chooses windows by it.
    """

    scaling: Scaling
    conf: float = 0.25
    iou: float = 0.7
    max_det: int = 300
    nms: str = "greedy"
    classes: tuple[int, ...] | None = None
    batch: int = 1
    multi_label: bool = False
    keep_pixels: bool = False
    keep_parts: bool = False
    skip_unreadable: bool = False
    watch: WindowWatch | None = None
    chooser: Chooser | None = None
    truth: Sequence[Annotations] | None = None

    def __post_init__(self) -> None:
        for name, value in (("conf", self.conf), ("iou", self.iou)):
            if not 0 <= value <= 1:
                raise FineSpotError(f"expected a value from 0 to 1 but got {value}", where=name)
        for name, number in (("max_det", self.max_det), ("batch", self.batch)):
            if number < 1:
                raise FineSpotError(f"expected 1 or more but got {number}", where=name)
        _ = self.suppressor  # an unknown name is said at once

    @cached_property
    def suppressor(self) -> Suppressor:
        """What joins the detections of a picture: the tiling's operator, else what `nms` names."""
        tiling = self.scaling.tiling
        if tiling is not None and tiling.merge is not None:
            return suppressor(tiling.merge, tiling.metric)
        return suppressor(self.nms)


def suppression_notes(settings: Settings, needed: bool, *, nms_asked: bool, iou_asked: bool) -> list[str]:
    """A note where what was asked of suppression has no effect; `needed` says whether the head needs any."""
    if settings.scaling.tiling is not None and settings.scaling.tiling.merge is not None:
        merge = settings.scaling.tiling.merge
        notes = [f"nms {settings.nms} is left out: tiles are merged by {merge}"] if nms_asked else []
        if iou_asked and not getattr(settings.suppressor, "thresholded", True):
            notes.append(f"iou {settings.iou:g} is left out: {merge} takes no threshold")
        return notes
    if not needed and not settings.scaling.tiled:
        return [f"nms {settings.nms} is left out: the head of this network finds no doubles"] if nms_asked else []
    if iou_asked and not getattr(settings.suppressor, "thresholded", True):
        return [f"iou {settings.iou:g} is left out: nms {settings.nms} takes no threshold"]
    return []


@dataclass(frozen=True)
class Outcome:
    """What came of one picture: its place in the source, its detections, its pixels and parts where asked for, and
    where a chooser or a network on windows looked, where that was.

    `error` is set, and `detections` empty, for a picture that could not be read.
    """

    index: int
    detections: Detections
    pixels: NDArray[np.uint8] | None = None
    error: FineSpotError | None = None
    parts: tuple[Part, ...] = ()
    view: WindowView | TileView | None = None


@dataclass
class _Picture:
    """A picture on its way: its pixels until it is cut, its windows not yet run and what was found so far.

    It is done when it is `cut` and no window is open. `pixels` are those to hand out.
    """

    index: int
    name: str
    decoded: NDArray[np.uint8] | None = None
    error: FineSpotError | None = None
    size: Size = (0, 0)
    windows: int = 0
    open_windows: int = 0
    cut: bool = False
    pixels: NDArray[np.uint8] | None = None
    parts: list[Part] = field(default_factory=list)
    view: WindowView | None = None
    choice: Choice | None = None


@dataclass(frozen=True)
class _Piece:
    """A prepared window: uint8 (h, w, 3), worth so many full ones, made in so many seconds. Without pixels it says that
    its picture is cut, or, with `flush`, that all windows before it are to run now.
    """

    picture: _Picture
    pixels: NDArray[np.uint8] | None = None
    placement: Placement | None = None
    window: Window | None = None
    worth: float = 1.0
    seconds: float = 0.0
    flush: bool = False


def walk(
    session: Session,
    entries: Iterable[Entry],
    settings: Settings,
    timing: Timing | None = None,
    classes: Classes | None = None,
) -> Iterator[Outcome]:
    """Detect in every picture, in order; `timing` gets the times added, `classes` defaults to the session's."""
    timing = timing if timing is not None else Timing()
    names = classes or session.classes
    chooser = Chooser(settings.scaling.tiling) if settings.chooser is None else settings.chooser
    read, cut = (
        _pictures(entries, settings, timing),
        partial(_pieces, chooser=chooser, settings=settings, timing=timing),
    )
    idle = partial(timing.idle, "model")
    ahead: Prefetch[_Picture] | Prefetch[_Piece]
    if chooser.waits:
        ahead = Prefetch(read, _weigh_picture, _READ_AHEAD_BYTES, idle)
        pieces = cut(ahead)
    else:
        ahead = Prefetch(cut(read), _weigh, _READ_AHEAD_BYTES, idle)
        pieces = ahead
    pending: deque[_Picture] = deque()
    run = partial(_run, session, settings, timing, ahead.cpu_time)
    # A network that is watched tells of one batch after the other; a GPU runs one after the other.
    one = torch.device(session.device).type != "cpu" or settings.watch is not None
    at_once = 1 if one else min(session.threads, MOST_AT_ONCE)
    start = time.perf_counter()
    try:
        groups = _groups(_enter(pieces, pending), settings.batch)
        for group, found in side_by_side(groups, run, session.threads, at_once):
            if found is not None:
                _take(group, *found, chooser, timing)
            while pending and pending[0].cut and pending[0].open_windows == 0:
                outcome = _finish(pending.popleft(), session, settings, chooser, names, timing)
                timing.total += time.perf_counter() - start
                yield outcome
                start = time.perf_counter()
    finally:
        ahead.close()
        timing.waiting += ahead.waited


def _pictures(entries: Iterable[Entry], settings: Settings, timing: Timing) -> Iterator[_Picture]:
    """Decode."""
    reading = iter(entries)
    for index in count():
        with timing.stage("decode"):
            entry = next(reading, None)
        if entry is None:
            return
        yield _decoded(entry, index, settings, timing)


def _decoded(entry: Entry, index: int, settings: Settings, timing: Timing) -> _Picture:
    try:
        with timing.stage("decode"):
            return _Picture(index, entry.name, read_rgb(entry.open()))
    except FineSpotError as error:
        if not settings.skip_unreadable:
            raise
        return _Picture(index, entry.name, error=error, cut=True)


def _pieces(pictures: Iterable[_Picture], chooser: Chooser, settings: Settings, timing: Timing) -> Iterator[_Piece]:
    """Choose, cut and scale."""
    for picture in pictures:
        if picture.error is None:
            yield from _windows_of(picture, chooser, settings, timing)
        else:
            yield _Piece(picture)


def _windows_of(picture: _Picture, chooser: Chooser, settings: Settings, timing: Timing) -> Iterator[_Piece]:
    """The windows of one picture, whose pixels are let go before the next one is cut."""
    pixels, picture.decoded = picture.decoded, None
    assert pixels is not None
    picture.size = pixels.shape[0], pixels.shape[1]
    picture.pixels = pixels if settings.keep_pixels else None
    picture.choice = chooser.choose(pixels)
    for tiles in picture.choice.rounds:
        picture.windows += len(tiles)
        picture.open_windows += len(tiles)
        # Without more rounds, the picture is done with its last window.
        picture.cut = not chooser.waits
        for tile in tiles:
            start = time.perf_counter()
            with timing.stage("prepare"):
                window, placement = place(pixels, tile, settings.scaling)
            full = worth(tile, picture.size, settings.scaling.tiling)
            yield _Piece(picture, window, placement, tile.window, full, time.perf_counter() - start)
        if chooser.waits:
            yield _Piece(picture, flush=True)
    if not picture.cut or picture.windows == 0:
        picture.cut = True
        yield _Piece(picture)


def _weigh(piece: _Piece) -> int:
    own = 0 if piece.pixels is None else piece.pixels.nbytes
    # A picture that is kept stays in memory with all its windows: each carries its share.
    whole = 0 if piece.picture.pixels is None else piece.picture.pixels.nbytes // max(1, piece.picture.windows)
    return own + whole


def _weigh_picture(picture: _Picture) -> int:
    return 0 if picture.decoded is None else picture.decoded.nbytes


def _enter(pieces: Iterable[_Piece], pending: deque[_Picture]) -> Iterator[_Piece]:
    """The pieces; the picture of each new one is put down among those that are to come out."""
    for piece in pieces:
        if not pending or pending[-1].index < piece.picture.index:
            pending.append(piece.picture)
        yield piece


def _groups(pieces: Iterable[_Piece], batch: int) -> Iterator[list[_Piece]]:
    """Windows of one shape, as many as are worth `batch` full ones; an empty group after a picture that was cut without
    one.

    Windows of a rarer shape, as that of whole pictures beside their tiles, wait for others of theirs, as long as those
    that wait are worth less than two batches in all, and come from no more than as many pictures, which wait with them.
    """
    waiting: dict[tuple[int, ...], list[_Piece]] = {}
    for piece in pieces:
        if piece.flush:
            yield from waiting.values()
            waiting.clear()
        while waiting and piece.picture.index - next(iter(waiting.values()))[0].picture.index >= 2 * batch:
            yield waiting.pop(next(iter(waiting)))
        if piece.pixels is None:
            yield []
            continue
        shape = piece.pixels.shape
        waiting.setdefault(shape, []).append(piece)
        if _worth(waiting[shape]) >= batch - _HAIR:
            yield waiting.pop(shape)
        elif sum(map(_worth, waiting.values())) >= 2 * batch - _HAIR:
            yield waiting.pop(next(iter(waiting)))
    yield from waiting.values()


def _worth(group: list[_Piece]) -> float:
    return sum(piece.worth for piece in group)


def _run(
    session: Session,
    settings: Settings,
    timing: Timing,
    background: Callable[[], float],
    group: list[_Piece],
    threads: int,
) -> tuple[list[Part], float]:
    """What is found in each window of a batch, which runs alone or, with a share of the `threads`, beside others; and
    the seconds that it cost, as far as the others leave them to it.
    """
    start, alone = time.perf_counter(), threads == session.threads
    with timing.stage("prepare"):
        # (B, H, W, 3) seen as (B, 3, H, W) is channels-last memory already: nothing is moved.
        images = torch.from_numpy(stack([piece.pixels for piece in group if piece.pixels is not None]))
        images = images.permute(0, 3, 1, 2)
        placements = [piece.placement for piece in group if piece.placement is not None]
        known = None
        if settings.truth is not None:
            truths = [settings.truth[piece.picture.index] for piece in group]
            known = truth_in(truths, placements, (int(images.shape[2]), int(images.shape[3])))
    clock = (lambda: time.process_time() - background()) if alone else (lambda: threads * time.thread_time())
    with timing.stage("model", clock):
        raw = session.look(images) if known is None else session.look(images, known)
        session.wait()
    if settings.watch is not None:
        for piece, view in zip(group, settings.watch(raw, placements), strict=True):
            piece.picture.view = view if piece.picture.view is None else piece.picture.view.joined(view)
    with timing.stage("postprocess"):
        selected = session.select(raw, settings.conf, settings.multi_label)
        parts = [
            Part(placement, boxes, scores, labels, piece.window)
            for piece, placement, (boxes, scores, labels) in zip(group, placements, selected, strict=True)
        ]
        if settings.classes is not None:
            parts = [part.of_classes(settings.classes) for part in parts]
    return parts, (time.perf_counter() - start) * threads / session.threads


def _take(group: list[_Piece], parts: list[Part], seconds: float, chooser: Chooser, timing: Timing) -> None:
    """Put down what a batch gave, in the order of the windows."""
    for piece, part in zip(group, parts, strict=True):
        piece.picture.parts.append(part)
        piece.picture.open_windows -= 1
    timing.windows += len(group)
    chooser.pace.add(seconds + sum(piece.seconds for piece in group), _worth(group))


def _finish(
    picture: _Picture, session: Session, settings: Settings, chooser: Chooser, classes: Classes, timing: Timing
) -> Outcome:
    if picture.error is not None:
        return Outcome(picture.index, Detections.empty((0, 0), classes, picture.name), error=picture.error)
    with timing.stage("postprocess"):
        found = merge(
            picture.parts,
            size=picture.size,
            classes=classes,
            iou=settings.iou,
            # What lies outside of a region does not count.
            max_det=settings.max_det if chooser.region is None else None,
            suppress=session.head.suppress or picture.windows > 1,
            nms=settings.suppressor,
            conf=settings.conf,
            source=picture.name,
        )
        found = chooser.within(found, settings.max_det)
    chooser.learn(found)
    timing.pictures += 1
    view: WindowView | TileView | None = picture.view
    if settings.chooser is not None and picture.choice is not None:
        view = picture.choice.view(chooser.pace.ms or 0.0)
    parts = tuple(picture.parts) if settings.keep_parts else ()
    return Outcome(picture.index, found, picture.pixels, parts=parts, view=view)
