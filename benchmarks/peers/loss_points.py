"""Assignment and loss of dense heads against YOLOX's head, ultralytics' YOLOv8 loss and torchvision's RetinaNet.

Both sides get one set of raw outputs, and gradients are by these. YOLOX's head makes its outputs itself, so it is given
layers that say what they are told; `yolox_network` compares once more with all layers at work.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.peers import originals, peer
from benchmarks.peers.loss_inputs import CLASSES, HEIGHT, WIDTH, distributions, noise, predicted
from benchmarks.peers.loss_rows import Row, choices, leaf, losses, values
from finespot.assigners import Assignment
from finespot.nn.heads.deltas import boxes_of, deltas_of
from finespot.nn.heads.dense_loss import DenseLoss, points_of
from finespot.nn.heads.points import make_anchors
from finespot.nn.heads.retina import RetinaHead
from finespot.nn.heads.retina_anchors import ANCHORS
from finespot.nn.heads.retina_loss import RetinaLoss
from finespot.nn.heads.rows import Rows
from finespot.nn.heads.yolox_loss import YOLOXLoss, decode, encode
from finespot.structures import Level, Targets
from finespot.weights.foreign.convert import import_checkpoint

STRIDES = (8, 16, 32)
# YOLOX measures overlaps with centers and sides, ours with corners: on boxes of 2 px far from the picture's corner both
# are within 2e-5 of the exact value.
YOLOX = 1e-4
CPU = torch.device("cpu")


def sizes(strides: tuple[int, ...]) -> list[tuple[int, int]]:
    """Rows and columns of the maps."""
    return [(-(-HEIGHT // stride), -(-WIDTH // stride)) for stride in strides]


def maps(rows: Tensor, strides: tuple[int, ...]) -> list[Tensor]:
    """(B, C, N) as maps (B, C, h, w), level by level."""
    shapes = sizes(strides)
    return [part.unflatten(2, shape) for part, shape in zip(rows.split([h * w for h, w in shapes], 2), shapes)]


def chosen(assignment: Assignment) -> list[tuple[int, int]]:
    """(row, target) of the positives of weight above 0."""
    kept = assignment.weights > 0
    return list(zip(assignment.rows[kept].tolist(), assignment.targets[kept].tolist()))


# YOLOX


class Given(nn.Module):
    """A layer that answers a tensor, whatever it is asked."""

    def __init__(self, answer: Tensor) -> None:
        super().__init__()
        self.answer = answer

    def forward(self, x: Tensor) -> Tensor:
        return self.answer


def centered_labels(targets: Targets) -> Tensor:
    """YOLOX's labels (B, most objects, 5): class, center and size; rows of zeros behind."""
    counts = torch.bincount(targets.image, minlength=targets.batch)
    found = torch.zeros(targets.batch, max(int(counts.max()), 1), 5)
    for picture, count in enumerate(counts.tolist()):
        rows = targets.image == picture
        low, high = targets.boxes[rows].split(2, 1)
        found[picture, :count] = torch.cat((targets.labels[rows, None], (low + high) / 2, high - low), 1)
    return found


def recorded(head: Any) -> list[tuple[int, Any]]:
    """Picture and answer of each call of the head's assignment from now on."""
    answers: list[tuple[int, Any]] = []
    assign = head.get_assignments

    def call(picture: int, *rest: Any) -> Any:
        answers.append((picture, assign(picture, *rest)))
        return answers[-1][1]

    head.get_assignments = call
    return answers


def yolox_positives(answers: list[tuple[int, Any]], targets: Targets, points: int) -> tuple[list[Any], Tensor]:
    """(row, target) of the head's positives, and their overlaps by row."""
    first = torch.searchsorted(targets.image, torch.arange(targets.batch))
    pairs, overlaps = [], [torch.zeros(0)]
    for picture, (_, mask, overlap, matched, _) in answers:
        rows = mask.nonzero().squeeze(1) + picture * points
        pairs += list(zip(rows.tolist(), (matched + first[picture]).tolist()))
        overlaps.append(overlap)
    return pairs, torch.cat(overlaps)


def yolox_terms(head: Any, features: list[Tensor], targets: Targets) -> dict[str, Tensor]:
    """The head's losses, with L1."""
    head.use_l1, head.training = True, True
    found = head(features, centered_labels(targets).to(features[0].dtype), features[0])
    return dict(zip(("box", "obj", "cls", "l1"), found[1:5]))


def yolox_rows(folder: Path, targets: Targets) -> list[Row]:
    """SimOTA and the loss on given outputs."""
    originals.yolox("nano", folder)  # makes it importable
    from yolox.models import YOLOXHead

    places = make_anchors(sizes(STRIDES), STRIDES, CPU)
    boxes, scores = predicted(places[0], targets, 30)
    flat = encode(boxes.flatten(0, 1), places[0].repeat(targets.batch, 1)).view(boxes.shape).transpose(1, 2)
    objectness = scores.amax(1, keepdim=True) + 1
    mine, other = ([leaf(flat), leaf(objectness), leaf(scores)] for _ in range(2))

    loss = YOLOXLoss()
    loss.closing = True
    raw = {"boxes": mine[0], "objectness": mine[1], "scores": mine[2], "anchors": places}
    terms = loss(raw, targets, STRIDES).terms
    rows = Rows(raw, STRIDES, decode, offset=0.5)
    assignment = loss.assigner(rows, targets, rows.candidates)

    head = YOLOXHead(CLASSES, 1.0, in_channels=[1, 1, 1])
    answers = recorded(head)
    for level in range(len(STRIDES)):
        head.stems[level] = head.cls_convs[level] = head.reg_convs[level] = nn.Identity()
        for layers, value in zip((head.reg_preds, head.obj_preds, head.cls_preds), other):
            layers[level] = Given(maps(value, STRIDES)[level])
    theirs = yolox_terms(head, [torch.zeros(targets.batch, 1, *size) for size in sizes(STRIDES)], targets)
    pairs, overlaps = yolox_positives(answers, targets, len(rows.candidates))
    return [
        choices("simota: pairs of point and target", "YOLOX", chosen(assignment), pairs),
        values("simota: class targets", "YOLOX", assignment.weights, overlaps, YOLOX),
        *losses("YOLOX loss:", "YOLOX", terms, theirs, (mine, other), YOLOX),
    ]


def yolox_network(folder: Path, targets: Targets) -> list[Row]:
    """The loss of YOLOX nano's 80 classes with all layers, weights by way of `weights import`; gradient by the picture.

    Networks in float64, since rounding grows on the way; our loss is float32. YOLOX reads BGR.
    """
    torch.manual_seed(0)
    model: Any
    model, _ = originals.yolox("nano", folder)
    for layer in model.head.reg_preds:
        layer.weight.data *= 0.1  # sides of a sane size: we cut their logarithms at 10
    images = noise((targets.batch, 3, HEIGHT, WIDTH), 70)
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "original.pth"
        torch.save({"start_epoch": 1, "model": model.state_dict()}, path)
        network: Any = import_checkpoint(path).detector.eval()
    network, theirs = network.double(), model.double()
    one, two = leaf(images), leaf(images)
    network.head.criterion.closing = True
    terms = network.loss(network(one), targets).terms
    answers = yolox_terms(theirs.head, list(theirs.backbone(two.flip(1))), targets)
    return losses("YOLOX nano, network and loss:", "YOLOX", terms, answers, ([one], [two]), YOLOX)


# YOLOv8 and YOLO11


def yolov8_rows(name: str, targets: Targets) -> list[Row]:
    """Task-aligned assignment and the loss on given outputs."""
    from ultralytics.utils.loss import v8DetectionLoss

    model: Any = peer.build(name, classes=CLASSES)
    model.args = SimpleNamespace(box=7.5, cls=0.5, dfl=1.5)
    strides = tuple(int(stride) for stride in model.stride)
    places = make_anchors(sizes(strides), strides, CPU)
    boxes, scores = predicted(places[0], targets, 40)
    flat = distributions(boxes, places[0], 42)
    mine, other = ([leaf(flat), leaf(scores)] for _ in range(2))

    loss = DenseLoss()
    raw = {"boxes": mine[0], "scores": mine[1], "anchors": places}
    terms = loss(raw, targets, strides).terms
    points = points_of(raw, strides)
    assignment = loss.assigner(points, targets, points.candidates)

    criterion = v8DetectionLoss(model)
    low, high = targets.boxes.split(2, 1)
    shares = torch.cat(((low + high) / 2, high - low), 1) / torch.tensor([WIDTH, HEIGHT, WIDTH, HEIGHT])
    given = {"boxes": other[0], "scores": other[1], "feats": maps(torch.zeros_like(scores), strides)}
    batch = {"batch_idx": targets.image, "cls": targets.labels, "bboxes": shares}
    answers: list[Any] = []
    criterion.assigner.register_forward_hook(lambda module, inputs, output: answers.append(output))
    total, _ = criterion(given, batch)
    theirs = dict(zip(("box", "cls", "dfl"), total / targets.batch))
    _, _, soft, _, index = answers[0]
    weights = soft.sum(-1).flatten()
    kept = weights.nonzero().squeeze(1)
    first = torch.searchsorted(targets.image, torch.arange(targets.batch))
    wanted = zip(kept.tolist(), (index.flatten().long() + first.repeat_interleave(len(places[0])))[kept].tolist())
    full = torch.zeros_like(weights)
    full[assignment.rows] = assignment.weights
    tag = name.removeprefix("yolov8n")
    return [
        choices(f"task_aligned{tag}: pairs of point and target", "ultralytics", chosen(assignment), wanted),
        values(f"task_aligned{tag}: class targets", "ultralytics", full, weights),
        *losses(f"{name} loss:", "ultralytics", terms, theirs, (mine, other)),
    ]


# RetinaNet

RETINA_STRIDES = (8, 16, 32, 64, 128)


def retinanet_rows(targets: Targets) -> list[Row]:
    """Anchors, matching and the loss of both versions on given outputs."""
    from torchvision.models.detection import retinanet_resnet50_fpn
    from torchvision.models.detection.image_list import ImageList
    from torchvision.ops import box_iou

    head = RetinaHead([Level(8, stride) for stride in RETINA_STRIDES], CLASSES)
    features = [torch.zeros(targets.batch, 8, *size) for size in sizes(RETINA_STRIDES)]
    places = head.anchors(features)
    boxes, scores = predicted(places[0, :, :3], targets, 50)
    flat = deltas_of(boxes, places).transpose(1, 2).clamp(-3, 3)

    model: Any = retinanet_resnet50_fpn(weights=None, weights_backbone=None, num_classes=CLASSES)
    images = ImageList(torch.zeros(targets.batch, 3, HEIGHT, WIDTH), [(HEIGHT, WIDTH)] * targets.batch)
    anchors = model.anchor_generator(images, features)
    order = their_order(places[0])
    back = order.argsort()
    center, half = places[0, :, :2], places[0, :, 3:] / 2
    rows = [values("RetinaNet anchors", "torchvision", torch.cat((center - half, center + half), 1)[order], anchors[0])]

    truth = [
        {"boxes": targets.boxes[targets.image == i], "labels": targets.labels[targets.image == i]}
        for i in range(targets.batch)
    ]
    pairs, between = [], []
    first = torch.searchsorted(targets.image, torch.arange(targets.batch)).tolist()
    for i, one in enumerate(truth):
        if len(one["boxes"]):
            matched = model.proposal_matcher(box_iou(one["boxes"], anchors[i]))[back]
            pairs += [(i * len(back) + r, first[i] + int(t)) for r, t in enumerate(matched.tolist()) if t >= 0]
            between += [i * len(back) + r for r, t in enumerate(matched.tolist()) if t == -2]
    for version, box_loss in (("", None), ("-v2", "giou")):
        mine, other = ([leaf(flat), leaf(scores)] for _ in range(2))
        raw = {"boxes": mine[0], "scores": mine[1], "anchors": places}
        loss = RetinaLoss(box_loss=box_loss)
        terms = loss(raw, targets, RETINA_STRIDES).terms
        model.head.regression_head._loss_type = box_loss or "l1"
        given = {
            "cls_logits": other[1].transpose(1, 2)[:, order],
            "bbox_regression": other[0].transpose(1, 2)[:, order],
        }
        found = model.compute_loss(truth, given, anchors)
        theirs = {"cls": found["classification"], "box": found["bbox_regression"]}
        if not version:
            rows_of = Rows(raw, RETINA_STRIDES, boxes_of, 0.0, ANCHORS)
            assignment = loss.assigner(rows_of, targets, rows_of.candidates)
            rows += [
                choices("max_iou: pairs of anchor and target", "torchvision", chosen(assignment), pairs),
                choices("max_iou: anchors between", "torchvision", assignment.ignored_rows.tolist(), between),
            ]
        rows += losses(f"RetinaNet{version} loss:", "torchvision", terms, theirs, (mine, other))
    return rows


def their_order(places: Tensor) -> Tensor:
    """Our rows in torchvision's order: by level and cell, then anchor; ours are by level and anchor, then cell."""
    found = []
    for stride in RETINA_STRIDES:
        rows = (places[:, 2] == stride).nonzero().squeeze(1)
        found.append(rows.view(9, -1).T.flatten())
    return torch.cat(found)
