"""The loss of heads that predict a set: each object is matched to one query, all others are background.

RT-DETR's loss (2023, section 4.3; cls 1, l1 5, box 2): a varifocal class loss whose target is the IoU of the matched
pair, the distance of the boxes as shares, and a box loss, of the last layer, of the query selection and every layer
before the last (together `auxiliary`), and of the denoising queries. All are divided by the number of objects,
denoising by the number of its positives, as means over the processes. What differs: ignore regions, any registered box
loss, in pixels, and figures on which targets starve.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, NamedTuple, cast

import torch
from torch import Tensor

from finespot.assigners import Hungarian, Matches
from finespot.boxes.normalized import to_corners, to_shares
from finespot.boxes.overlap import iou_family
from finespot.losses import varifocal
from finespot.losses.ranks import all_reduced
from finespot.nn.heads.criterion import Criterion, counts
from finespot.structures import LossTerms, Size, Targets


class Layers(NamedTuple):
    """Predictions of L layers: boxes (B, L, Q, 4) as shares of the input, class logits (B, L, classes, Q); float32."""

    boxes: Tensor
    logits: Tensor


class Truth(NamedTuple):
    """Targets in pixels, the input's extent (1, 4), and the stride that box losses are told."""

    targets: Targets
    extent: Tensor
    stride: int

    @property
    def image_size(self) -> Size:
        """(height, width) of the network input."""
        width, height = self.extent[0, :2].tolist()
        return int(height), int(width)


class SetLoss(Criterion):
    """Terms cls, l1, box of the last layer, auxiliary, denoising; see `Criterion` for the choices and the counts."""

    GAINS: ClassVar[Mapping[str, float]] = {"cls": 1.0, "l1": 5.0, "box": 2.0}
    ASSIGNER = "hungarian"
    BOX_LOSS = "giou"
    MATCHES_SETS = True

    def forward(self, raw: Mapping[str, Tensor], targets: Targets, stride: int) -> LossTerms:
        """Loss of raw predictions (see `RTDETRHead`), in float32 inside autocast too.

        `stride` is for box losses that want one: queries belong to no level, so it is the finest.
        """
        with torch.autocast(raw["scores"].device.type, enabled=False):
            truth = Truth(targets, raw["extent"].float(), stride)
            objects, positives = _over_processes(raw, targets)
            layers = _decoded(raw)
            assigner = cast(Hungarian, self.assigner)
            matches = assigner(torch.sigmoid(layers.logits), layers.boxes, targets, truth.extent)
            losses = self._losses(layers, matches, truth)
            terms = {name: value[0] / objects for name, value in losses.items()}
            before = [value[1:].sum() for value in losses.values()]
            terms["auxiliary"] = torch.stack(before).sum() / objects
            terms["denoising"] = layers.logits.new_zeros(())
            if "denoising_boxes" in raw:
                noised = Layers(raw["denoising_boxes"].float(), raw["denoising_scores"].float())
                mended = self._losses(noised, _noised(raw), truth)
                terms["denoising"] = torch.stack([value.sum() for value in mended.values()]).sum() / positives
        last = matches.target[matches.layer == 0]
        return LossTerms(terms, counts(targets, torch.bincount(last, minlength=len(targets.boxes))))

    def _losses(self, layers: Layers, matches: Matches, truth: Truth) -> dict[str, Tensor]:
        """Sums (L,) over the batch by layer, times their gains."""
        layer, picture, query, target = matches
        boxes, aim = layers.boxes[picture, layer, query], truth.targets.boxes[target]
        corners = to_corners(boxes, truth.extent)
        strides = torch.full_like(corners[:, 0], truth.stride)
        box = self.box_costs(corners, aim, stride=strides, image_size=truth.image_size, picture=picture)
        l1 = (boxes - to_shares(aim, truth.extent)).abs().sum(1)
        if not self.l1_acts:
            l1 = torch.zeros_like(l1)
        of_layer = (layer == torch.arange(layers.boxes.shape[1], device=layer.device)[:, None]).float()

        place = (picture, layer, truth.targets.labels[target], query)
        quality, positive = torch.zeros_like(layers.logits), torch.zeros_like(layers.logits, dtype=torch.bool)
        quality[place] = iou_family(corners.detach(), aim).clamp(0, 1)
        positive[place] = True
        cls = varifocal(layers.logits, quality, positive)
        ignored = _ignored(layers, truth)
        if ignored is not None:
            cls = cls.masked_fill(ignored & ~positive.any(2, keepdim=True), 0.0)
        losses = {"cls": cls.sum((0, 2, 3)), "l1": of_layer @ l1, "box": of_layer @ box}
        return {name: self.gains[name] * value for name, value in losses.items()}


def _decoded(raw: Mapping[str, Tensor]) -> Layers:
    """The last layer, then query selection and the layers before the last, where the raw output has them."""
    boxes, logits = raw["boxes"][:, None], raw["scores"][:, None]
    if "auxiliary_boxes" in raw:
        boxes = torch.cat((boxes, raw["auxiliary_boxes"]), 1)
        logits = torch.cat((logits, raw["auxiliary_scores"]), 1)
    return Layers(boxes.float(), logits.float())


def _noised(raw: Mapping[str, Tensor]) -> Matches:
    """The pairs of denoising queries, known without matching."""
    wanted = raw["denoising_targets"]
    picture, query = (wanted >= 0).nonzero().unbind(1)
    layers = raw["denoising_boxes"].shape[1]
    layer = torch.arange(layers, device=wanted.device).repeat_interleave(len(picture))
    return Matches(layer, picture.repeat(layers), query.repeat(layers), wanted[picture, query].repeat(layers))


def _over_processes(raw: Mapping[str, Tensor], targets: Targets) -> tuple[Tensor, Tensor]:
    """Objects and denoising positives, at least 1 each; with several processes their means over these."""
    objects = (~targets.ignore).sum()
    wanted = raw.get("denoising_targets")
    found = torch.stack((objects, objects.new_zeros(()) if wanted is None else (wanted >= 0).sum())).float()
    objects, positives = all_reduced(found, "mean").clamp(min=1).unbind()
    return objects, positives


def _ignored(layers: Layers, truth: Truth) -> Tensor | None:
    """Mask (B, L, classes, Q) of entries whose predicted center lies in an ignore region of that class, or of any."""
    targets = truth.targets
    regions = targets.ignore.nonzero().squeeze(1)
    if len(regions) == 0:
        return None
    batch, count, classes, queries = layers.logits.shape
    image, edges = targets.image[regions], targets.boxes[regions][:, None, None]
    centers = layers.boxes.detach()[image, ..., :2] * truth.extent[0, :2]
    inside = ((centers > edges[..., :2]) & (centers < edges[..., 2:])).all(-1)
    # One row a picture and class, those of any class first in each picture.
    row = image * (classes + 1) + targets.labels[regions] + 1
    hits = torch.zeros(batch * (classes + 1), count * queries, device=row.device)
    hits.index_add_(0, row, inside.flatten(1).float())
    mask = (hits > 0).view(batch, classes + 1, count, queries).transpose(1, 2)
    return mask[:, :, 1:] | mask[:, :, :1]
