"""Detect in all pictures of a data set and score the result: the pipeline of prediction, then the metrics."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from finespot import metrics
from finespot.errors import FineSpotError, some
from finespot.inference.chooser import Chooser, Seeks, chooser_of
from finespot.inference.pipeline import Settings, suppression_notes, walk
from finespot.inference.prepare import scale_notes, scaling, uncut
from finespot.inference.skipping import Skipping, TileView
from finespot.inference.sources import Entry
from finespot.inference.timing import Timing
from finespot.inference.windows import WindowView, asks_truth, watch_of
from finespot.metrics.subset import by_rules
from finespot.runtimes import Session
from finespot.structures import Annotations, Classes, Detections, Labels, Tiling
from finespot.tiling import Region, touched_cells
from finespot.writers import write_coco
from finespot.zoo import WindowedDetector

if TYPE_CHECKING:
    from finespot.data import Dataset

# At least so many detections a picture, whatever the protocol counts: its limits are per class.
_MAX_DET = 300
# As good as no limit, for protocols that have none.
_NO_LIMIT = 10_000


@dataclass(frozen=True)
class Validation:
    """What a validation gave.

    Attributes
    ----------
    reports:
        The numbers of each protocol; `report` is the first.
    detections, image_ids:
        Per picture in the data set's order; labels are the data set's classes.
    truths, results:
        The columns that were compared for each; `truth` is the first (for a confusion matrix and curves).
    timing:
        Where the time went; `speed` and `rate` are shortcuts.
    notes:
        What was decided or left out, one line each.
    views:
        Which tiles of each picture were looked at, where they were chosen; or where a network on windows looked, where
        that was watched.
    skipping:
        What the choice of tiles saved and lost, where they were chosen.
    hot_from:
        The heat from which on a seeker's cell is hot, where one ran.
    region:
        Where it was looked, and where the objects of the truth are; None: everywhere.
    """

    reports: tuple[metrics.Report, ...]
    detections: list[Detections]
    image_ids: list[int | str]
    truths: tuple[metrics.Truth, ...]
    results: metrics.Results
    timing: Timing
    notes: list[str] = field(default_factory=list)
    views: Sequence[WindowView | TileView] = ()
    skipping: Skipping | None = None
    hot_from: float | None = None
    region: Region | None = None

    def coverage(self) -> metrics.Coverage:
        """How well the windows that were looked at cover the objects, and what they cost.

        Raises
        ------
        FineSpotError
            Nothing was watched.
        """
        if len(self.views) != len(self.image_ids):
            raise FineSpotError("expected the view of each picture but none was kept", hint="validate with watch=True")
        windows, cores = ([getattr(one, name) for one in self.views] for name in ("windows", "cores"))
        # What the protocol ignores need not be found.
        truth, _ = by_rules(self.truth, self.results, self.report.protocol)
        return metrics.coverage(truth, windows, cores=cores)

    def heat_quality(self) -> metrics.HeatQuality | None:
        """How well the seeker's maps agree with the objects; None where no seeker was watched. Cells outside of the
        region do not count: what is there is not in the truth.
        """
        maps = [one.heat for one in self.views if one.heat is not None]
        if self.hot_from is None or len(maps) != len(self.image_ids):
            return None
        cells = None
        if self.region is not None:
            cells = [
                touched_cells(self.region.of_picture(one.size), (0, 0, one.size[1], one.size[0]), heat.shape)
                for one, heat in zip(self.views, maps)
            ]
        truth, _ = by_rules(self.truth, self.results, self.report.protocol)
        return metrics.heat_quality(truth, maps, threshold=self.hot_from, cells=cells)

    @property
    def report(self) -> metrics.Report:
        """The numbers of the first protocol."""
        return self.reports[0]

    @property
    def truth(self) -> metrics.Truth:
        """The truth as the first protocol takes it."""
        return self.truths[0]

    @property
    def tables(self) -> list[tuple[metrics.Truth, metrics.Results]]:
        """What was compared, by protocol."""
        return [(truth, self.results) for truth in self.truths]

    @property
    def speed(self) -> dict[str, float]:
        """Milliseconds a picture (wall) by stage: decode, prepare, model, postprocess."""
        return self.timing.per_picture()

    @property
    def rate(self) -> float:
        """Pictures a second."""
        return self.timing.rate

    def to_coco(self, path: str | Path) -> Path:
        """Write the detections as COCO results with the data set's image ids and category ids."""
        return write_coco(path, self.detections, self.image_ids)


def validate(
    session: Session,
    dataset: Dataset,
    *,
    protocol: str | metrics.Protocol | Sequence[str | metrics.Protocol] = "coco",
    imgsz: int | None = None,
    batch: int = 8,
    conf: float = 0.001,
    iou: float = 0.7,
    nms: str | None = None,
    max_det: int | None = None,
    tiling: Tiling | None = None,
    watch: bool = False,
    seeker: str | Path | Seeks | None = None,
    max_tiles: int | None = None,
    budget_ms: float | None = None,
    roi: str | Path | Region | None = None,
    uniform_above: float | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Validation:
    """Score a network on a data set. One that chooses windows by an oracle is told the truth of each picture.

    Parameters
    ----------
    protocol:
        Name of an evaluation protocol, or one; or several, which score the same detections.
    imgsz, tiling:
        Input size and cutting; the weight file's own where left out (`Tiling(None)`: whole pictures).
    batch:
        Windows of equal shape that run together at most.
    conf, iou:
        Least score (every class above it counts at a place) and IoU of suppression.
    nms:
        Which suppression, as in `Model.predict`; greedy where left out, whatever the weight file says, as for `iou`.
    max_det:
        Most detections in a picture; by default 300 or the protocols' largest limit, if that is more (10 000 where one
        has none).
    watch:
        Keep where a network on windows looked (`Validation.views`).
    seeker, max_tiles, budget_ms, roi, uniform_above:
        What decides which tiles are looked at, as in `Model.predict`. Objects with their center outside of a region do
        not count either.
    progress:
        Called with (pictures done, pictures in all) after each picture.

    Raises
    ------
    FineSpotError
        A picture cannot be read, no class of the weights is one of the data set's, the network to watch chooses no
        windows, or something of how tiles are chosen has no effect.
    """
    asked = [protocol] if isinstance(protocol, str | metrics.Protocol) else list(protocol)
    protocols = [metrics.protocol(one) if isinstance(one, str) else one for one in asked]
    if not protocols:
        raise FineSpotError("expected a protocol or more but got none", where="protocol")
    card = session.card
    rule, notes = scaling(
        card.imgsz if imgsz is None else imgsz, session.stride, card.tiling if tiling is None else tiling, card.fit
    )
    notes += scale_notes(rule, card)
    chooser = chooser_of(
        session,
        rule.tiling,
        seeker=seeker,
        max_tiles=max_tiles,
        budget_ms=budget_ms,
        roi=roi,
        uniform_above=uniform_above,
    )
    annotations = [dataset.annotations(i) for i in range(len(dataset))]
    settings = Settings(
        scaling=rule,
        conf=conf,
        iou=iou,
        nms="greedy" if nms is None else nms,
        max_det=most_detections(protocols) if max_det is None else max_det,
        batch=batch,
        multi_label=True,
        watch=watch_of(session, watch and chooser is None),
        chooser=chooser,
        truth=annotations if asks_truth(session) else None,
    )
    notes += suppression_notes(settings, session.head.suppress, nms_asked=nms is not None, iou_asked=True)
    labels, class_notes = match_classes(session.classes, dataset.classes)
    timing = Timing()
    detections: list[Detections] = []
    views: list[WindowView | TileView] = []
    for outcome in walk(session, _entries(dataset), settings, timing):
        detections.append(_relabel(outcome.detections, labels, dataset.classes))
        views += [] if outcome.view is None else [outcome.view]
        if progress is not None:
            progress(len(detections), len(dataset))
    ids: list[int | str] = [dataset.image_id(i) for i in range(len(dataset))]
    annotations, outside = _in_region(annotations, chooser)
    truths = [
        metrics.Truth.from_annotations(annotations, dataset.classes, ids, heeded=one.ignored) for one in protocols
    ]
    # By falling score, as files of results are written: a limit may be one of rows as they stand.
    by_score = [one.select(np.argsort(-one.scores, kind="stable")) for one in detections]
    results = metrics.Results.from_detections(by_score, truths[0])
    reports = []
    for rules, truth in zip(protocols, truths):
        report = metrics.evaluate(truth, results, rules)
        notes_of_limit = _limit_notes(settings, rules)
        reports.append(replace(report, settings=_told(settings, session), notes=(*report.notes, *notes_of_limit)))
    notes = [*dataset.notes, *notes, *uncut([one.size for one in detections], rule.tiling), *class_notes, *outside]
    hot = session.network.windows.threshold if settings.watch is not None else None
    made = Validation(tuple(reports), detections, ids, tuple(truths), results, timing, notes, views, hot_from=hot)
    if chooser is None:
        return made
    hot = None if chooser.seeker is None else chooser.seeker.threshold
    return replace(made, skipping=_skipping(made, chooser, dataset.split), hot_from=hot, region=chooser.region)


def _in_region(annotations: list[Annotations], chooser: Chooser | None) -> tuple[list[Annotations], list[str]]:
    """The truth with its center in the region that is looked at, and what is to be said about the rest.

    Ignore regions stay: where they reach into the region, what is found there does not count.
    """
    if chooser is None or chooser.region is None:
        return annotations, []
    kept = []
    for one in annotations:
        region = chooser.region_in(one.size)
        assert region is not None
        kept.append(one.select(one.ignore | region.contains((one.boxes[:, :2] + one.boxes[:, 2:]) / 2)))
    before, after = (sum(map(len, truth)) for truth in (annotations, kept))
    return kept, [*chooser.notes(), f"{before - after} of {before} objects lie outside of the region and do not count"]


def _skipping(validation: Validation, chooser: Chooser, split: str) -> Skipping:
    tiles = [one for one in validation.views if isinstance(one, TileView)]
    reached = validation.coverage().all.bpr_center
    recall = None if chooser.seeker is None else chooser.seeker.recall
    return replace(Skipping.of(tiles), recall=recall, lost=None if reached is None else 1 - reached, split=split)


def most_detections(protocols: Sequence[metrics.Protocol]) -> int:
    """How many detections of a picture are kept for all protocols to look at."""
    return max(_MAX_DET, *(one.largest or _NO_LIMIT for one in protocols))


def match_classes(own: Classes, wanted: Classes) -> tuple[Labels, list[str]]:
    """For each class of a network its label in a data set, -1 where it has none; and what is to be said about it.

    Classes are matched by name. Those of a network that was never given names (0, 1, 2 ...) are matched by place.
    """
    if own.names == tuple(str(i) for i in range(len(wanted))):
        return np.arange(len(wanted)), []
    place = {name: label for label, name in enumerate(wanted)}
    labels = np.array([place.get(name, -1) for name in own], np.int64)
    if (labels < 0).all():
        raise FineSpotError(
            f"expected a class of the data set ({some(wanted.names)}) but the weights know {some(own.names)}",
            hint="classes are matched by name",
        )
    notes = []
    lost = [name for name, label in zip(own, labels) if label < 0]
    if lost:
        notes.append(f"detections of classes that the data set does not have are left out: {some(lost)}")
    known = set(own)
    unseen = [name for name in wanted if name not in known]
    if unseen:
        notes.append(f"classes that the weights do not know count as never found: {some(unseen)}")
    return labels, notes


def _told(settings: Settings, session: Session) -> dict[str, Any]:
    """What a report says of how its detections were made."""
    network = session.network
    rule = {"windows": asdict(network.windows)} if isinstance(network, WindowedDetector) else {}
    tiling = settings.scaling.tiling
    cut = None if tiling is None or tiling.size is None else tiling.to_dict()
    return {
        "conf": settings.conf,
        "iou": settings.iou,
        "nms": settings.nms,
        "imgsz": settings.scaling.imgsz,
        "tiling": cut,
        "max_det": settings.max_det,
        **rule,
    }


def _limit_notes(settings: Settings, rules: metrics.Protocol) -> list[str]:
    """A note where fewer detections were kept than the protocol looks at."""
    looked_at = rules.largest
    if settings.max_det >= (looked_at or _NO_LIMIT):
        return []
    limit = "all" if looked_at is None else f"{looked_at}{' of each class' if rules.scope == 'class' else ''}"
    return [f"at most {settings.max_det} detections of a picture were kept; {rules.name} looks at {limit}"]


def _entries(dataset: Dataset) -> Iterator[Entry]:
    for index in range(len(dataset)):
        yield Entry(dataset.path(index), partial(dataset.image, index))


def _relabel(found: Detections, labels: Labels, classes: Classes) -> Detections:
    changed = labels[found.labels]
    keep = changed >= 0
    return replace(found, boxes=found.boxes[keep], scores=found.scores[keep], labels=changed[keep], classes=classes)
