"""The head of RT-DETR: selected cells become queries, and a decoder makes each of them an object or background.

After "DETRs Beat YOLOs on Real-time Object Detection" (2023) and its released code: queries start as the best cells of
the encoder, every decoder layer corrects their boxes, and no suppression follows, since training matches each object to
one query. While training, every layer is held to the truth, and a layer's loss also teaches the box of the layer before
("look forward twice", DINO 2022). See `queries` and `denoising` for what differs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from finespot.boxes.normalized import logits as to_logits
from finespot.boxes.normalized import to_corners
from finespot.errors import FineSpotError
from finespot.nn.heads.denoising import Denoising, Noised
from finespot.nn.heads.head import Head
from finespot.nn.heads.queries import PRIOR, QuerySelection, start_predictions
from finespot.nn.heads.selection import Selected, select
from finespot.nn.heads.set_loss import SetLoss
from finespot.nn.layers.conv import TORCH_NORM, Conv, Norm
from finespot.nn.layers.decoder import DecoderLayer
from finespot.nn.layers.transformer import MLP
from finespot.registry import register
from finespot.structures import Features, Level, LossTerms, Size, Targets

Raw = dict[str, Tensor]


@register("head", "rtdetr")
class RTDETRHead(Head):
    """`Features` of `levels` to one prediction for each of Q = `queries` queries (fewer where the input has not as many
    cells).

    Raw: "boxes" (B, Q, 4) as shares (cx, cy, w, h) of the input; "scores" (B, classes, Q) logits; "extent" (1, 4)
    width, height, width, height of the input in pixels. While training also "auxiliary_boxes" (B, L, Q, 4) and
    "auxiliary_scores" (B, L, classes, Q) of the selection and all layers but the last, and, with truth,
    "denoising_boxes" (B, layers, D, 4), "denoising_scores" (B, layers, classes, D) and "denoising_targets" (B, D), the
    row of `Targets` that each has to find or -1.

    `denoising` is the number of denoising pairs to aim at (0: none), `layers` that of decoder layers; class scores
    start at the probability `prior`; `norm` has the constants of the batch norms, which fusing leaves without `folds`.
    """

    suppress = False

    def __init__(
        self,
        levels: Sequence[Level],
        classes: int,
        *,
        queries: int = 300,
        denoising: int = 100,
        layers: int = 6,
        width: int = 256,
        heads: int = 8,
        points: int = 4,
        feedforward: int = 1024,
        prior: float = PRIOR,
        norm: Norm = TORCH_NORM,
        folds: bool = True,
    ) -> None:
        super().__init__(levels, classes)
        least = {"queries": (queries, 1), "layers": (layers, 1), "denoising": (denoising, 0)}
        for name, (value, lowest) in least.items():
            if not isinstance(value, int) or value < lowest:
                raise FineSpotError(f"expected {name} to be a number of {lowest} or more but got {value}", where="head")
        if not 0 < prior < 1:
            raise FineSpotError(f"expected prior to be a probability above 0 and below 1 but got {prior}", where="head")
        self.project = nn.ModuleDict(
            {level.name: Conv(level.channels, width, activation=None, norm=norm, folds=folds) for level in levels}
        )
        self.selection = QuerySelection(width, classes, queries, [level.stride for level in levels], prior)
        self.denoising = Denoising(classes, width, denoising) if denoising else None
        self.position = MLP(4, 2 * width, width)
        for layer in self.position.layers:
            nn.init.xavier_uniform_(cast(nn.Linear, layer).weight)
        self.layers = nn.ModuleList(
            [DecoderLayer(width, heads, feedforward, len(levels), points) for _ in range(layers)]
        )
        self.class_layers = nn.ModuleList([nn.Linear(width, classes) for _ in range(layers)])
        self.box_layers = nn.ModuleList([MLP(width, width, width, 4) for _ in range(layers)])
        for scores, boxes in zip(self.class_layers, self.box_layers):
            start_predictions(cast(nn.Linear, scores), cast(MLP, boxes), prior)
        self.set_loss()

    def forward(self, features: Features, targets: Targets | None = None) -> Raw:
        maps = [project(x) for project, x in zip(self.project.values(), features.maps, strict=True)]
        sizes: list[Size] = [(int(x.shape[2]), int(x.shape[3])) for x in maps]
        memory = torch.cat([x.permute(0, 2, 3, 1).flatten(1, 2) for x in maps], 1)
        anchors = self.selection.anchors(memory, sizes)
        selected = self.selection(memory, anchors)
        content, start, allowed = selected.content.detach(), selected.boxes.detach(), None
        noised: Noised | None = None
        if self.training and targets is not None and self.denoising is not None:
            noised = self.denoising(targets, anchors.extent, content.shape[1])
            content = torch.cat((noised.content.to(content.dtype), content), 1)
            start = torch.cat((noised.boxes, start), 1)
            allowed = noised.allowed
        boxes, scores = self._decoded(content, torch.sigmoid(start), memory, sizes, allowed)
        count = 0 if noised is None else noised.content.shape[1]
        raw = {"boxes": boxes[:, -1, count:], "scores": scores[:, -1, :, count:], "extent": anchors.extent}
        if self.training:
            first_boxes, first_scores = torch.sigmoid(selected.boxes), selected.scores.transpose(1, 2)
            raw["auxiliary_boxes"] = torch.cat((first_boxes[:, None], boxes[:, :-1, count:]), 1)
            raw["auxiliary_scores"] = torch.cat((first_scores[:, None], scores[:, :-1, :, count:]), 1)
        if noised is not None:
            raw["denoising_boxes"] = boxes[:, :, :count]
            raw["denoising_scores"] = scores[..., :count]
            raw["denoising_targets"] = noised.targets
        return raw

    def _decoded(
        self, content: Tensor, boxes: Tensor, memory: Tensor, sizes: Sequence[Size], allowed: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Boxes (B, L, Q, 4) and class logits (B, L, classes, Q): of all layers while training, else of the last."""
        all_boxes, all_scores = [], []
        before: Tensor | None = None
        last = len(self.layers) - 1
        for number, (layer, to_boxes, to_scores) in enumerate(zip(self.layers, self.box_layers, self.class_layers)):
            content = layer(content, self.position(boxes.to(content.dtype)), boxes, memory, sizes, allowed)
            correction = to_boxes(content).float()
            corrected = torch.sigmoid(correction + to_logits(boxes))
            if self.training or number == last:
                # The same values, but their loss reaches the correction of the layer before too.
                all_boxes.append(corrected if before is None else torch.sigmoid(correction + to_logits(before)))
                all_scores.append(to_scores(content).transpose(1, 2))
            before, boxes = corrected if self.training else None, corrected.detach()
        return torch.stack(all_boxes, 1), torch.stack(all_scores, 1)

    def criterion_of(self, **choice: Any) -> SetLoss:
        """`SetLoss`."""
        return SetLoss(**choice)

    def loss(self, raw: Raw, targets: Targets) -> LossTerms:
        """Weighted terms with counts; see `SetLoss`."""
        terms: LossTerms = self.criterion(raw, targets, self.inputs[0].stride)
        return terms

    def decode_boxes(self, raw: Raw) -> Tensor:
        """Boxes (B, Q, 4), xyxy in input pixels, not clipped."""
        return to_corners(raw["boxes"].float(), raw["extent"])

    def select(self, raw: Raw, conf: float, max_candidates: int = 30_000, multi_label: bool = False) -> list[Selected]:
        """Boxes, scores and labels of score `conf` or more, per picture, by falling score (numpy).

        One label a query, its best, or with `multi_label` the best of all pairs of query and label, as many as there
        are queries.
        """

        def decode(picture: Tensor, query: Tensor) -> Tensor:
            return to_corners(raw["boxes"][picture, query].float(), raw["extent"])

        most = min(max_candidates, raw["scores"].shape[2])
        return select(raw["scores"], conf, most, multi_label, decode)

    def class_rows(self) -> list[str]:
        """Names of the parameters whose first dimension is the classes."""
        linear = ["selection.scores", *(f"class_layers.{i}" for i in range(len(self.class_layers)))]
        rows = [f"{name}.{part}" for name in linear for part in ("weight", "bias")]
        return rows if self.denoising is None else [*rows, "denoising.labels.weight"]
