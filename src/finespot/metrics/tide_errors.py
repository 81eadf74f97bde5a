"""What is wrong with each detection and which objects are missed, in the terms of TIDE.

After Bolya et al., TIDE: A General Toolbox for Identifying Object Detection Errors (ECCV 2020), as release 1.0.1 of
the authors' program tells the errors apart. What differs: overlaps below the background threshold are never formed,
and all pictures are settled together. Overlaps are between boxes, never between masks.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from finespot.metrics.matching import Pairs, match, overlapping_pairs, rank_in_group
from finespot.metrics.tables import Results, Truth

Rows = NDArray[np.int64]
Flags = NDArray[np.bool_]
Floats = NDArray[np.float64]
Kinds = NDArray[np.int8]

# In the order in which the program prints them, and in which the progressive repair takes them.
KINDS = ("Cls", "Loc", "Both", "Dupe", "Bkg", "Miss")
CLS, LOC, BOTH, DUPE, BKG, MISS = range(len(KINDS))
RIGHT = -1


@dataclass(frozen=True)
class Scene:
    """Detections within the limit, in the order they are visited, with the objects they overlap.

    Visited are the pictures in the order of the truth and, in each, its detections by falling score. `pairs` are those
    of one picture, of whatever classes, by rising detection, then falling overlap, then row of the object. `shared`
    (D,) is the largest share of a detection in an ignore region of its class or of no class.
    """

    objects: Truth
    results: Results
    pairs: Pairs
    shared: Floats


@dataclass(frozen=True)
class Fates:
    """What became of detections (D,) and objects (G,).

    `kind` is RIGHT or a position in KINDS. `ignored` detections lie on an ignore region: they count neither as right
    nor as wrong, but have a kind all the same. `about` is the row of the object that a detection found or that its
    error is about, -1 on background. `chosen` is the one detection that would find its object if its class or place
    were mended, and `mended_label` its class then. `found` objects have a detection, `missed` ones not even a
    detection to be mended.
    """

    label: Rows
    scores: Floats
    area: Floats
    kind: Kinds
    ignored: Flags
    about: Rows
    chosen: Flags
    mended_label: Rows
    object_label: Rows
    object_area: Floats
    found: Flags
    missed: Flags

    def within(self, detections: Flags, objects: Flags) -> Fates:
        """Some of the detections and objects; `about` still counts all objects."""
        columns = ("label", "scores", "area", "kind", "ignored", "about", "chosen", "mended_label")
        return Fates(
            **{name: getattr(self, name)[detections] for name in columns},
            **{name: getattr(self, name)[objects] for name in ("object_label", "object_area", "found", "missed")},
        )

    def counts(self) -> dict[str, int]:
        """Errors of each kind, on ignore regions too."""
        wrong = np.bincount(self.kind[self.kind != RIGHT], minlength=len(KINDS))
        wrong[MISS] = self.missed.sum()
        return dict(zip(KINDS, wrong.tolist()))


def visit(truth: Truth, results: Results, max_dets: int, lowest: float) -> Scene:
    """Arrange both tables; the limit holds per picture over all classes, overlaps below `lowest` (> 0) are left out."""
    results = results.select(results.label >= 0)
    order = np.lexsort((-results.scores, results.image))
    results = results.select(order[rank_in_group(results.image[order]) < max_dets])
    objects = truth.select(~truth.crowd)
    pairs = overlapping_pairs(
        (results.image, objects.image), (results.boxes, objects.boxes), np.zeros(len(objects), bool), lowest
    )
    turn = np.lexsort((pairs.truth, -pairs.overlap, pairs.detection))
    pairs = Pairs(pairs.detection[turn], pairs.truth[turn], pairs.overlap[turn])
    return Scene(objects, results, pairs, _shared(truth, results, lowest))


def _shared(truth: Truth, results: Results, lowest: float) -> Floats:
    """The largest share of each detection in an ignore region that concerns it."""
    crowds, any_class = truth.select(truth.crowd), len(truth.classes)
    regions = truth.regions.joined(truth.others)
    image = np.concatenate([crowds.image, regions.image])
    label = np.concatenate([crowds.label, np.full(len(regions), any_class)])
    boxes = np.concatenate([crowds.boxes, regions.boxes])
    pairs = overlapping_pairs((results.image, image), (results.boxes, boxes), np.ones(len(image), bool), lowest)
    concerns = (label[pairs.truth] == results.label[pairs.detection]) | (label[pairs.truth] == any_class)
    shared = np.zeros(len(results))
    np.maximum.at(shared, pairs.detection[concerns], pairs.overlap[concerns])
    if truth.sizes is not None:
        # A region as large as its picture takes in all detections there, also those that stick out or have no area.
        height_width = truth.sizes[image]
        whole = (boxes[:, :2] <= 0).all(axis=1)
        whole &= (boxes[:, :2] + boxes[:, 2:] >= height_width[:, ::-1]).all(axis=1)
        covered = np.zeros((len(truth.image_ids), any_class + 1), bool)
        covered[image[whole], label[whole]] = True
        shared[covered[results.image, results.label] | covered[results.image, any_class]] = 1.0
    return shared


def take(scene: Scene, thresholds: tuple[float, ...]) -> Rows:
    """The object that each detection finds at each threshold, (D, T), -1 for none.

    In order of score, each detection takes the free object of its class that it overlaps most, the first of equals.
    """
    pairs, last = scene.pairs, len(scene.objects) - 1
    able = scene.objects.label[pairs.truth] == scene.results.label[pairs.detection]
    able &= pairs.overlap >= min(thresholds)
    # Matching prefers the last of equals, so the objects are counted from behind.
    fitting = Pairs(pairs.detection[able], last - pairs.truth[able], pairs.overlap[able])
    none = np.zeros(len(scene.objects), bool)
    matches = match(fitting, scene.results.image, none, none[:, None], thresholds)
    partner = np.full((len(scene.results), len(thresholds)), -1, np.int64)
    partner[matches.rows] = np.where(matches.partner[:, 0] >= 0, last - matches.partner[:, 0].astype(np.int64), -1)
    return partner


def explain(scene: Scene, partner: Rows, pos: float, bg: float) -> Fates:
    """Name the error of each detection that found nothing at the threshold `pos`; `partner` (D,) is from `take`."""
    results, objects, pairs = scene.results, scene.objects, scene.pairs
    used = partner >= 0
    found = np.zeros(len(objects), bool)
    found[partner[used]] = True
    same = objects.label[pairs.truth] == results.label[pairs.detection]
    own, own_object = _best(scene, same)
    other, other_object = _best(scene, ~same)
    taken, taken_object = _best(scene, same & found[pairs.truth])
    near, near_object = _best(scene, np.ones(len(same), bool))
    conditions = [used, (own >= bg) & (own <= pos), other >= pos, taken >= pos, near <= bg]
    kind = np.select(conditions, [RIGHT, LOC, CLS, DUPE, BKG], BOTH).astype(np.int8)
    about = np.select(conditions, [partner, own_object, other_object, taken_object, -1], near_object)
    # Of all detections that would find a free object once mended, the best does: the first, as they come by score.
    rows = np.flatnonzero((kind == LOC) | (kind == CLS))
    rows = rows[~found[about[rows]]]
    usable, first = np.unique(about[rows], return_index=True)
    chosen = np.zeros(len(results), bool)
    chosen[rows[first]] = True
    missed = ~found
    missed[usable] = False
    mended_label = results.label.copy()
    mended_label[chosen] = objects.label[about[chosen]]
    return Fates(
        label=results.label,
        scores=results.scores,
        area=results.area,
        kind=kind,
        ignored=~used & (scene.shared > pos),
        about=about,
        chosen=chosen,
        mended_label=mended_label,
        object_label=objects.label,
        object_area=objects.area,
        found=found,
        missed=missed,
    )


def _best(scene: Scene, which: Flags) -> tuple[Floats, Rows]:
    """The largest overlap of each detection among some pairs and its object, the first of equals; 0 and -1 for none."""
    detection = scene.pairs.detection[which]
    first = np.flatnonzero(np.diff(detection, prepend=-1))
    overlap, row = np.zeros(len(scene.results)), np.full(len(scene.results), -1, np.int64)
    overlap[detection[first]] = scene.pairs.overlap[which][first]
    row[detection[first]] = scene.pairs.truth[which][first]
    return overlap, row
