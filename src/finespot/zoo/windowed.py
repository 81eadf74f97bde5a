"""A detector whose later stages run on windows only: those where a seeker expects objects.

After "ESOD: Efficient Small Object Detection on High-Resolution Images" (IEEE TIP 34, 2025). The stages up to a cut run
on the picture, the seeker reads the map of the cut, windows of it are chosen, and the rest of the network runs on these
as on a batch of small pictures. The modules and their names are those of the dense network, so weights fit both.

    picture -> stem /8 -> seeker -> heat
                  |                  |
                  |    cores whose heat reaches the threshold, the best of them
                  |                  |
                  +---- windows of the map (K, C, h, w) ----> later stages -> neck -> head -> boxes by picture

What differs from the original: a fixed grid of cores with halos in place of windows that are moved onto what fires (see
`nn.windows`; theirs is the form "shifted"); training chooses windows too; of what two windows see, the one whose core
holds the center keeps it; and where so many windows fire that they cost more, the whole map runs through the same
layers. An own grid of windows begins elsewhere in each training step, so that no place is always at a border.

Raw outputs hold, beside what the head gives, "heat" (B, 1, h, w) logits and "picks" (B, rows, columns) bool, the cores
that were chosen; where windows ran, "origins" and "cores"; where the head left out cells, "left_out" (see
`nn.heads.dense`). Where nothing behind the cut learns,
as when a seeker is added to weights that one has, a training step leaves that out and gives "heat" alone.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn

from finespot.errors import FineSpotError, unknown
from finespot.nn.backbones.stages import Split
from finespot.nn.heads import DenseHead
from finespot.nn.windows import (
    UNIT,
    Grid,
    changed_layers,
    choose,
    for_training,
    gather,
    indices,
    object_cells,
    object_cores,
    peak_cells,
    peaks,
    shifted,
    widened,
)
from finespot.structures import Architecture, Features, LossTerms, Size, Targets
from finespot.zoo.detector import Detector

FORMS = ("cores", "shifted")
SELECTIONS = ("seeker", "oracle", "all")
CELLS = ("all", "seeker", "oracle")
HEAT = "heat"


@dataclass(frozen=True)
class Windows:
    """How windows lie and which run; lengths in cells of the map that is cut.

    Attributes
    ----------
    form:
        "cores": a fixed grid with halos. "shifted", as published: about `sides` x `sides` rectangles without halos, of
        which those with a peak are moved onto what fires; all of them, unmoved, in training.
    core, halo:
        Sides of the cores and what windows show about them, of the form "cores"; multiples of 4, the halo less.
    sides:
        Of the form "shifted".
    threshold:
        Probability at which a cell of the seeker's map fires, and its core with it. 0: all cores do.
    budget:
        The most windows of a picture, those of the highest heat. None: no limit.
    dense_above:
        The whole map runs instead where the windows of a batch together have this share of its cells or more. None:
        never. At 1.0 windows cost as many operations; on CPUs they took less time up to there.
    select:
        "seeker"; "all" cores; or "oracle", those that hold the center of an object, which needs the truth.
    share:
        How many cores a training step computes, of those that a grid from the corner of the map has, of the form
        "cores": all that hold objects, then such that fire, then others. More where more hold objects.
    cells:
        Of windows, and of the whole map where `dense_above` takes it, what the head computes when it does not learn:
        "all" cells; of a "seeker", those about local maxima of its map; of an "oracle", those about objects, which
        needs the truth. Other than all only of heads that can: those of the released networks.
    cell_threshold:
        Probability from which a local maximum counts for `cells`; the released code has 0.3.

    Raises
    ------
    FineSpotError
        A value is out of range.
    """

    form: str = "cores"
    core: int = 32
    halo: int = 4
    sides: int = 8
    threshold: float = 0.5
    budget: int | None = None
    dense_above: float | None = 1.0
    select: str = "seeker"
    share: float = 0.33
    cells: str = "all"
    cell_threshold: float = 0.3

    def __post_init__(self) -> None:
        for name, known in (("form", FORMS), ("select", SELECTIONS), ("cells", CELLS)):
            if getattr(self, name) not in known:
                raise unknown(f"{name} of windows", str(getattr(self, name)), known)
        for name, least, step in (("core", UNIT, UNIT), ("halo", 0, UNIT), ("sides", 1, 1), ("budget", 1, 1)):
            count = getattr(self, name)
            if count is None and name == "budget":
                continue
            if isinstance(count, bool) or not isinstance(count, int) or count < least or count % step:
                of = f" that is a multiple of {step}" if step > 1 else ""
                raise FineSpotError(f"expected {least} or more{of} but got {count}", where=name)
        if self.form == "cores" and self.halo >= self.core:
            raise FineSpotError(f"expected less than the core, {self.core}, but got {self.halo}", where="halo")
        limits = {"threshold": 1.0, "share": 1.0, "dense_above": math.inf, "cell_threshold": 1.0}
        for name, most in limits.items():
            share = getattr(self, name)
            if share is None and name == "dense_above":
                continue
            if isinstance(share, bool) or not isinstance(share, int | float) or not 0 <= share <= most:
                to = f" to {most:g}" if most < math.inf else " or more"
                raise FineSpotError(f"expected a number from 0{to} but got {share}", where=name)

    def grid(self, size: Size, shift: Size = (0, 0)) -> Grid:
        """The cores of a map of `size`; `shift` moves those of the form "cores"."""
        if self.form == "shifted":
            return Grid.published(size, self.sides)
        return Grid(size, (self.core, self.core), self.halo, shift)


class Chosen(NamedTuple):
    """The windows that run: their grid, picture and core (K,) each, origins (K, 2) x and y and cores (K, 4) in cells;
    `picks` (B, rows, columns) are the same cores as a map.
    """

    grid: Grid
    picks: Tensor
    picture: Tensor
    core: Tensor
    origins: Tensor
    cores: Tensor


class WindowedDetector(Detector):
    """Pictures to raw output as `Detector`, the stages behind the cut on windows.

    Attributes
    ----------
    whole:
        Run the whole map through all layers, and all cells in the head, whatever is chosen: the dense form of the same
        weights. What has no data (the meta device) runs so too, as nothing can be chosen there.
    laps:
        Where it is a dict, each pass adds the seconds of its parts, waiting for the device at each of them.

    Raises
    ------
    FineSpotError
        The backbone cannot be cut, there is no relay that gives "heat", the head is none of a dense kind, its levels
        are so coarse that windows would not lie on their grid, or it cannot compute single cells as the rule wants.
    """

    def __init__(
        self,
        backbone: nn.Module,
        relay: nn.Module | None,
        neck: nn.Module,
        head: nn.Module,
        architecture: Architecture | None = None,
        windows: Windows | None = None,
    ) -> None:
        super().__init__(backbone, relay, neck, head, architecture)
        self.whole = False
        self.laps: dict[str, float] | None = None
        cut = getattr(relay, "stride", None)
        if relay is None or cut is None:
            raise FineSpotError(
                "windows are chosen by a seeker, and there is none", where="windows", hint="take relay=seeker"
            )
        if not hasattr(backbone, "split"):
            raise FineSpotError(f"the backbone {type(backbone).__name__} cannot be cut in two", where="windows")
        if not isinstance(head, DenseHead):
            raise FineSpotError(
                f"the head {type(head).__name__} looks at the whole picture, so it cannot run on windows",
                where="windows",
            )
        self.windows = Windows() if windows is None else windows
        self.cut = int(cut)
        if UNIT * self.cut % self.stride:
            raise FineSpotError(
                f"windows lie on a grid of {UNIT * self.cut} px, but the network wants multiples of {self.stride}",
                where="windows",
            )
        self.split()

    def split(self) -> Split:
        """Stem and tail of the backbone, at the cut."""
        return cast(Split, cast(Any, self.backbone).split(self.cut))

    def forward(self, images: Tensor, targets: Targets | None = None) -> Any:
        if self.whole or (images.is_meta and self.windows.select != "all"):
            raw = super().forward(images, targets)
            return {**raw, "picks": self.choose(raw[HEAT]).picks}
        self.check(images)
        split = self.split()
        if self.training and self.seeks_only:
            return dict(self.look(images, split).auxiliary)
        with self._lap("stem and seeker", images):
            seen = self.look(images, split)
        with self._lap("selection", images):
            unit = max(level.stride for level in seen.levels) // self.cut
            chosen = self.choose(seen.auxiliary[HEAT], targets, unit)
            likely = self.likely(seen.auxiliary[HEAT], targets)
        more = {**seen.auxiliary, "picks": chosen.picks}
        if self.runs_whole(chosen):
            with self._lap("tail and head", images):
                return {**self._judged(split.tail(seen), targets, likely), **more}
        with self._lap("gathering", images):
            windows = self.cut_out(seen, chosen)
            if likely is not None:
                likely = gather(likely, chosen.picture, chosen.origins, chosen.grid.window)
        with self._lap("tail and head", images):
            raw = self._judged(split.tail(windows), None, likely)
        origins = torch.cat((chosen.picture[:, None], chosen.origins * self.cut), 1)
        return {**raw, **more, "origins": origins, "cores": chosen.cores * self.cut}

    @property
    def windows(self) -> Windows:
        """The rule, which may be replaced at any time; of single cells only where the head can compute them."""
        return self._windows

    @windows.setter
    def windows(self, rule: Windows) -> None:
        if rule.cells != "all" and not hasattr(self.head, "at_cells"):
            raise FineSpotError(
                f"the head {type(self.head).__name__} computes all cells",
                where="cells",
                hint="that of the released networks can leave some out: esod-yolov5m, esod-rtmdet-m-published",
            )
        self._windows = rule

    @property
    def seeks_only(self) -> bool:
        """Whether nothing behind the cut has gradients: then training needs none of it."""
        behind = (*self.split().parts.values(), self.neck, self.head)
        return not any(p.requires_grad for part in behind for p in part.parameters())

    def loss(
        self, raw: Any, targets: Targets, content: Tensor | None = None, shapes: Tensor | None = None
    ) -> LossTerms:
        """As that of `Detector`; of the seeker alone, where only that learns."""
        if "scores" in raw:
            return super().loss(raw, targets, content, shapes)
        found: LossTerms = cast(Any, self.relay).loss(raw, targets, content, shapes)
        return LossTerms(found.terms, {"targets": (~targets.ignore).sum(), **found.counts})

    def changed_layers(self) -> dict[str, list[str]]:
        """The layers that see another thing in windows than in pictures; see `nn.windows.changed`."""
        parts = {f"backbone.{name}": part for name, part in self.split().parts.items()}
        return changed_layers({**parts, "neck": self.neck, "head": self.head})

    def _judged(self, features: Features, targets: Targets | None, likely: Tensor | None) -> dict[str, Tensor]:
        """What neck and head make of the tail's maps."""
        found = self.neck(features)
        raw = self.head(found, targets) if likely is None else cast(Any, self.head).at_cells(found, likely)
        return cast("dict[str, Tensor]", raw)

    @contextmanager
    def _lap(self, name: str, images: Tensor) -> Iterator[None]:
        if self.laps is None:
            yield
            return
        start = _now(images)
        yield
        self.laps[name] = self.laps.get(name, 0.0) + _now(images) - start

    def look(self, images: Tensor, split: Split | None = None) -> Features:
        """What runs on whole pictures: the maps of the cut, with the seeker's "heat" (B, 1, h, w)."""
        features: Features = (split or self.split()).stem(images)
        seen: Features = cast(Any, self.relay)(features)
        if HEAT not in seen.auxiliary:
            raise FineSpotError(
                f"the relay {type(self.relay).__name__} gives no '{HEAT}', by which windows are chosen",
                where="windows",
                hint="take relay=seeker",
            )
        return seen

    @torch.no_grad()
    def choose(self, heat: Tensor, targets: Targets | None = None, unit: int = 1) -> Chosen:
        """The windows for a map of logits (B, 1, h, w); training and the oracle look at the truth.

        Where coarser maps are cut too, windows lie on multiples of `unit` cells.
        """
        rule, size = self.windows, (int(heat.shape[2]), int(heat.shape[3]))
        learns = self.training and rule.form == "cores" and rule.select != "all"
        grid = rule.grid(size, _jitter(rule) if learns else (0, 0))
        if self.whole or (heat.is_meta and rule.select != "all"):
            picked = _all(heat, grid)
            place = indices(picked, grid.cores)
        elif learns:
            place = self._to_learn(heat, grid, targets)
            picked = torch.zeros(len(heat) * grid.cores, dtype=torch.bool, device=heat.device)
            picked[place] = True
        else:
            picked, each = self._to_run(heat, grid, targets)
            place = indices(picked, each)
        picks = picked.view(len(heat), *grid.shape)
        picture, core = torch.div(place, grid.cores, rounding_mode="floor"), place % grid.cores
        origins, cores = grid.places(heat.device)
        origins, cores = origins[core], cores[core]
        if rule.form == "shifted" and not self.training and rule.select == "seeker":
            active = torch.sigmoid(heat.float()) >= rule.threshold
            origins = shifted(grid, picture, core, active, unit)
            # Moved windows overlap and each keeps what it finds; suppression takes the doubles.
            cores = cores.new_tensor([-math.inf, -math.inf, math.inf, math.inf]).expand(len(core), 4)
        elif not self.training and rule.select != "all":
            # Not by the whole halo: what lies at the rim of a window is seen without its surroundings, or in part.
            cores = widened(cores, picks, picture, core, max(rule.halo // 2, 1))
        return Chosen(grid, picks, picture, core, origins, cores)

    @torch.no_grad()
    def likely(self, heat: Tensor, targets: Targets | None = None) -> Tensor | None:
        """The cells (B, 1, h, w) bool of the cut that the head computes, and their like on coarser levels.

        None: all, as in training, and where there is no data to choose by.
        """
        rule = self.windows
        if self.training or rule.cells == "all" or heat.is_meta:
            return None
        if rule.cells == "seeker":
            return peak_cells(heat, rule.cell_threshold)
        return object_cells(self._truth(targets, "cells"), (int(heat.shape[2]), int(heat.shape[3])), self.cut)

    def scores(self, heat: Tensor, grid: Grid) -> Tensor:
        """The logit (B, cores) by which each core fires: its largest, as published that of its peaks."""
        return grid.largest(peaks(heat) if self.windows.form == "shifted" else heat)

    def runs_whole(self, chosen: Chosen) -> bool:
        """Whether the chosen windows cost so much that the whole map runs in their place."""
        limit = self.windows.dense_above
        return limit is not None and len(chosen.core) * chosen.grid.share >= limit * len(chosen.picks)

    def cut_out(self, seen: Features, chosen: Chosen) -> Features:
        """The windows of all maps of the cut, stacked; of coarser maps, the same places."""
        maps = []
        for level, x in zip(seen.levels, seen.maps, strict=True):
            times = level.stride // self.cut
            size = (chosen.grid.window[0] // times, chosen.grid.window[1] // times)
            maps.append(gather(x, chosen.picture, torch.div(chosen.origins, times, rounding_mode="floor"), size))
        return replace(seen, maps=maps)

    def _to_run(self, heat: Tensor, grid: Grid, targets: Targets | None) -> tuple[Tensor, int | None]:
        """The cores (B, N) bool, and how many in each picture where that is known beforehand."""
        rule, count = self.windows, grid.cores
        if rule.select == "all" or (self.training and rule.form == "shifted"):
            return _all(heat, grid), count
        if rule.select == "oracle":
            return object_cores(self._truth(targets), grid, self.cut), None
        scores = self.scores(heat, grid)
        each = min(rule.budget or count, count) if rule.threshold == 0 else None
        return choose(scores, rule.threshold, rule.budget), each

    def _to_learn(self, heat: Tensor, grid: Grid, targets: Targets | None) -> Tensor:
        rule, shape = self.windows, (len(heat), grid.cores)
        if targets is None and rule.select == "seeker":
            objects = torch.zeros(shape, dtype=torch.bool, device=heat.device)
        else:
            objects = object_cores(self._truth(targets), grid, self.cut)
        scores = grid.largest(heat) if rule.select == "seeker" else heat.new_full(shape, -math.inf)
        # Of a grid that begins within the map, which has cores cut off at its borders: windows of those cost as much.
        least = math.ceil(rule.share * len(heat) * rule.grid(grid.size).cores)
        # Drawn on the CPU, as a run that goes on draws the same there.
        return for_training(objects, scores, rule.threshold, least, torch.rand(shape).to(heat.device))

    def _truth(self, targets: Targets | None, asked: str = "select") -> Targets:
        if targets is None:
            chosen = "windows" if asked == "select" else asked
            raise FineSpotError(
                f"an oracle chooses {chosen} by the truth, and there is none here", where=asked, hint="take seeker"
            )
        return targets


def _now(images: Tensor) -> float:
    if images.is_cuda:
        torch.cuda.synchronize(images.device)
    return time.perf_counter()


def _all(heat: Tensor, grid: Grid) -> Tensor:
    return torch.ones((len(heat), grid.cores), dtype=torch.bool, device=heat.device)


def _jitter(rule: Windows) -> Size:
    """Where the grid begins: anywhere, as far as cores of this size differ."""
    down, across = (int(one) * UNIT - rule.halo for one in torch.randint(rule.core // UNIT, (2,)))
    return down, across
