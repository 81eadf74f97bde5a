"""`load` and `Model`: detection in two lines."""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from finespot import zoo
from finespot.errors import FineSpotError
from finespot.inference.chooser import Seeks, chooser_of
from finespot.inference.explain import Explainer, Explanation, explanations
from finespot.inference.pipeline import Outcome, Settings, suppression_notes, walk
from finespot.inference.prepare import Scaling, scale_notes, scaling, uncut
from finespot.inference.skipping import Skipping, TileView
from finespot.inference.sources import open_source
from finespot.inference.timing import Timing
from finespot.inference.windows import watch_of
from finespot.runtimes import Session
from finespot.structures import Classes, Detections, Size, Tiling
from finespot.tiling import Region
from finespot.weights import Card


def load(
    name_or_path: str | Path,
    runtime: str = "auto",
    threads: int | None = None,
    device: str | torch.device = "auto",
    precision: str = "auto",
    own_parts: bool = False,
) -> Model:
    """A detector ready to use, from a weight file or the name of bundled weights.

    Parameters
    ----------
    runtime, device, precision, threads:
        What runs the network, where, in which number type and on how many CPU cores; see `Session`.
    own_parts:
        Import the modules outside FineSpot that the file names as parts of its network, which runs their code.
    """
    session = Session(
        name_or_path, own_parts=own_parts, runtime=runtime, threads=threads, device=device, precision=precision
    )
    return Model(session)


class Predictions(Iterator[Detections]):
    """The detections of one picture after the other, each made when it is asked for.

    `outcomes` is the same run seen whole: also the pictures that were left out, with the reason, and the pixels of each
    (uint8 RGB) where they were asked for. Take one or the other: what one has given the other does not give again.
    """

    def __init__(self, outcomes: Generator[Outcome, None, None]) -> None:
        self.outcomes = outcomes

    def __next__(self) -> Detections:
        return next(one.detections for one in self.outcomes if one.error is None)

    def close(self) -> None:
        """End the run, and with it the reading ahead."""
        self.outcomes.close()


class Model:
    """A detector with its class names and the way it wants to be used.

    Attributes
    ----------
    session, card:
        What runs the network; what its weight file says.
    skipped:
        (name, reason) of each file that the last prediction left out: a picture that could not be read, a GIF or
        video among the pictures of a folder.
    notes:
        What the last prediction decided by itself, one line each.
    timing:
        Where the time of the last prediction went.
    """

    def __init__(self, session: Session) -> None:
        self.session = session
        self.skipped: list[tuple[str, str]] = []
        self.notes: list[str] = []
        self.timing = Timing()

    @property
    def card(self) -> Card:
        """What the weight file says."""
        return self.session.card

    @property
    def classes(self) -> Classes:
        """Names of what is found."""
        return self.card.classes

    def predict(
        self,
        source: Any,
        *,
        conf: float | None = None,
        iou: float | None = None,
        nms: str | None = None,
        max_det: int | None = None,
        classes: Sequence[str | int] | None = None,
        tiling: Tiling | None = None,
        imgsz: int | None = None,
        batch: int = 1,
        pixels: bool = False,
        windows: bool = False,
        seeker: str | Path | Seeks | None = None,
        max_tiles: int | None = None,
        budget_ms: float | None = None,
        roi: str | Path | Region | None = None,
        refresh: int | None = None,
        uniform_above: float | None = None,
    ) -> Predictions:
        """Detect in all pictures of a source, one after the other.

        Parameters
        ----------
        source:
            See `open_source`: file, folder, glob, list file, video, array (H, W, 3) in RGB order, Pillow picture or
            a list of these.
        conf, iou, max_det:
            Least score, IoU above which the lesser of two boxes of a class falls, most detections in a picture; what
            the weight file says (0.25, 0.7 and 300 as a rule) where left out.
        nms:
            Which suppression, with its options, such as `soft(sigma=0.3)`: see `finespot.boxes.suppressor`. What is
            compared with `iou` is its own similarity. The weight file's (greedy as a rule) where left out.
        classes:
            Names or labels of what is looked for; the others are left out before detections are counted. None: all.
        tiling:
            How to cut pictures and to merge what their tiles gave; the weight file's own where left out,
            `Tiling(None)` for whole pictures.
        imgsz:
            Long side of a whole picture, or side of a tile, in network input pixels; the weight file's where left
            out.
        batch:
            Windows that run together at most.
        pixels:
            Keep each picture's pixels for `Predictions.outcomes`.
        windows:
            Keep which tiles were looked at there too (`Outcome.view`), or, of a network on windows, where it looked.
        seeker:
            What says which tiles are looked at: a seeker, its weight file or the name of bundled weights.
        max_tiles, budget_ms:
            At most so many tiles in a picture, those with the most heat; at most as many as fit in that time.
        roi:
            Where to look: a region, a GeoJSON file in pixels of the pictures, or a mask picture. What has its center
            elsewhere is left out.
        refresh:
            The pictures are frames of a video, of which each tile is looked at every so many frames; tiles on which the
            last frame had objects in each. 10 for a video whose tiles are chosen.
        uniform_above:
            Share of hot cells from which on all tiles of a picture are looked at (0.6).

        Raises
        ------
        FineSpotError
            The source is not there, or the one picture named cannot be read. In a folder or a list a picture that
            cannot be read is left out: see `skipped`. Or windows are asked for and none are chosen; or something of how
            tiles are chosen has no effect.
        """
        card = self.card
        if isinstance(classes, str) or (classes is not None and not len(classes)):
            raise FineSpotError(
                f"expected a list of classes, one at least, but got {classes!r}",
                where="classes",
                hint='such as ["Car"]',
            )
        opened = open_source(source)
        rule, notes = self._scaling(imgsz, tiling)
        chooser = chooser_of(
            self.session,
            rule.tiling,
            seeker=seeker,
            max_tiles=max_tiles,
            budget_ms=budget_ms,
            roi=roi,
            refresh=refresh,
            uniform_above=uniform_above,
            video=opened.fps is not None,
        )
        settings = Settings(
            scaling=rule,
            conf=card.conf if conf is None else conf,
            iou=card.iou if iou is None else iou,
            nms=card.nms if nms is None else nms,
            max_det=card.max_det if max_det is None else max_det,
            classes=None if classes is None else card.classes.labels(classes),
            batch=batch,
            keep_pixels=pixels,
            skip_unreadable=not opened.single,
            watch=watch_of(self.session, windows and chooser is None),
            chooser=chooser,
        )
        suppress = self.session.head.suppress
        notes += suppression_notes(settings, suppress, nms_asked=nms is not None, iou_asked=iou is not None)
        self.skipped, self.notes, self.timing = list(opened.left_out), notes, Timing()
        walked = walk(self.session, opened.entries, settings, self.timing)
        return Predictions(_watched(walked, settings, self.skipped, notes))

    def explain(
        self,
        source: Any,
        *,
        method: str = "hirescam",
        target: str = "class",
        layers: Sequence[str] = ("neck",),
        **options: Any,
    ) -> Iterator[Explanation]:
        """Detect in all pictures of a source and map, for each class that is found, which places led to it.

        Parameters
        ----------
        source:
            See `open_source`.
        method, target, layers:
            What a heat map is: see `Explainer`.
        options:
            Those of `predict`, but `pixels`: `classes` limits what is found, and with it what is explained.

        Raises
        ------
        FineSpotError
            As `predict` and `Explainer`, before the first picture is asked for where the cause is no picture.
        """
        rule = {key: options.get(key) for key in ("imgsz", "tiling")}
        explainer = self.explainer(method=method, target=target, layers=layers, **rule)
        outcomes = self.predict(source, pixels=True, **options).outcomes
        found = ((one.detections, one.pixels) for one in outcomes if one.pixels is not None)
        return explanations(found, explainer)

    def explainer(
        self,
        *,
        method: str = "hirescam",
        target: str = "class",
        layers: Sequence[str] = ("neck",),
        tiling: Tiling | None = None,
        imgsz: int | None = None,
    ) -> Explainer:
        """What explains detections of this model that were made with the same `tiling` and `imgsz`."""
        rule, _ = self._scaling(imgsz, tiling)
        return Explainer(self.session, rule, method=method, target=target, layers=layers)

    def info(self) -> dict[str, Any]:
        """What this detector is, as plain values: architecture, cost, input, thresholds, origin, runtime."""
        card, session = self.card, self.session
        detector = session.detector
        architecture = card.architecture
        return {
            "architecture": zoo.name_of(architecture),
            "options": dict(architecture.options),
            "classes": list(card.classes.names),
            "parameters": zoo.count_parameters(detector),
            "gflops": zoo.count_gflops(detector, (card.imgsz, card.imgsz)),
            "stride": session.stride,
            "imgsz": card.imgsz,
            "tiling": None if card.tiling is None else card.tiling.to_dict(),
            "objects": None if card.objects is None else {"side": card.objects.side, "factor": card.objects.factor},
            "conf": card.conf,
            "iou": card.iou,
            "nms": card.nms,
            "max_det": card.max_det,
            "metrics": [
                {"protocol": m.protocol, "data": m.data, "split": m.split, "imgsz": m.imgsz, "values": m.values}
                for m in card.metrics
            ],
            "data_licence": card.data_licence,
            "provenance": card.provenance,
            "runtime": session.reason,
        }

    def _scaling(self, imgsz: int | None, tiling: Tiling | None) -> tuple[Scaling, list[str]]:
        """How pictures enter the network, the weight file's own where left out, with notes."""
        card = self.card
        rule, notes = scaling(
            card.imgsz if imgsz is None else imgsz,
            self.session.stride,
            card.tiling if tiling is None else tiling,
            card.fit,
        )
        return rule, [*notes, *scale_notes(rule, card)]


def _watched(
    outcomes: Iterator[Outcome], settings: Settings, skipped: list[tuple[str, str]], notes: list[str]
) -> Generator[Outcome, None, None]:
    """The outcomes; what is to be said of the pictures is added to the lists."""
    # Sums, as a video has no end.
    sizes: Counter[Size] = Counter()
    found = Skipping()
    for outcome in outcomes:
        if outcome.error is None:
            sizes[outcome.detections.size] += 1
        else:
            skipped.append((outcome.detections.source, outcome.error.what))
        if isinstance(outcome.view, TileView):
            found = found.plus(outcome.view)
        yield outcome
    notes += uncut(sizes.elements(), settings.scaling.tiling)
    if settings.chooser is not None:
        seeker = settings.chooser.seeker
        if seeker is not None:
            found = replace(found, recall=seeker.recall, lost=seeker.lost)
        notes += [*settings.chooser.notes(), *found.lines()]
