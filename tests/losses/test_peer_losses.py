"""Losses, assignments and gradients against what torchvision, ultralytics, YOLOX and RT-DETR compute on formula inputs.

The peers' values are in `data/peer_losses.json`; benchmarks/peers/loss_inputs.py has the same formulas as this file.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from finespot.boxes.normalized import to_shares
from finespot.losses import box_loss
from finespot.losses.focal import focal, quality_focal, varifocal
from finespot.nn.heads.deltas import boxes_of, deltas_of
from finespot.nn.heads.denoising import Denoising
from finespot.nn.heads.points import make_anchors
from finespot.nn.heads.retina import RetinaHead
from finespot.nn.heads.retina_anchors import ANCHORS
from finespot.nn.heads.retina_loss import RetinaLoss
from finespot.nn.heads.rows import Rows
from finespot.nn.heads.set_loss import SetLoss
from finespot.nn.heads.yolox_loss import YOLOXLoss, decode, encode
from finespot.structures import Level, Targets

GOLDEN = json.loads((Path(__file__).parent / "data" / "peer_losses.json").read_text())["values"]
HEIGHT, WIDTH, CLASSES = 256, 512, 3
EXTENT = torch.tensor([[WIDTH, HEIGHT, WIDTH, HEIGHT]], dtype=torch.float32)
# Of each picture: number of objects, their least and largest side, and the share of the picture that they lie in.
PICTURES = ((4, 2, 8, 1.0), (0, 0, 0, 0.0), (6, 4, 60, 0.5))


def noise(shape: tuple[int, ...], k: int, low: float = 0.0, high: float = 1.0) -> Tensor:
    """Float64 values from an integer hash of position and `k`."""
    mask = np.uint64(0xFFFFFFFF)
    places = np.arange(1, int(np.prod(shape)) + 1, dtype=np.uint64)
    h = (places * np.uint64(2654435761) + np.uint64((k + 1) * 2246822519)) & mask
    h ^= h >> np.uint64(15)
    h = h * np.uint64(2246822519) & mask
    h ^= h >> np.uint64(13)
    h = h * np.uint64(3266489917) & mask
    h ^= h >> np.uint64(16)
    return torch.from_numpy(h.astype(np.float64) / 2**32 * (high - low) + low).reshape(shape)


def truth() -> Targets:
    """Boxes of whole quarters of pixels, tiny ones, none, and mixed ones."""
    boxes, labels, image = [], [], []
    for i, (count, least, most, share) in enumerate(PICTURES):
        if count:
            u = noise((5, count), 10 + i)
            sides = least * (most / least) ** u[:2]
            low = u[2:4] * (share * torch.tensor([[WIDTH], [HEIGHT]]) - sides)
            boxes.append((4 * torch.cat((low, low + sides))).round().T / 4)
            labels.append((u[4] * CLASSES).long())
            image.append(torch.full((count,), i))
    rows = torch.cat(boxes).float()
    return Targets(rows, torch.cat(labels), torch.cat(image), torch.zeros(len(rows), dtype=torch.bool), len(PICTURES))


TARGETS = truth()


def predicted(places: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Boxes (B, N, 4) near the next target, squares elsewhere, and class logits (B, CLASSES, N) at `places` (N, 3)."""
    places = places.double()
    boxes = noise((TARGETS.batch, len(places), 4), k, -0.3, 0.3)
    logits = noise((TARGETS.batch, CLASSES, len(places)), k + 1, -5, 0)
    for picture in range(TARGETS.batch):
        rows = (TARGETS.image == picture).nonzero().squeeze(1)
        aim = torch.cat((places[:, :2] - places[:, 2:], places[:, :2] + places[:, 2:]), 1)
        if len(rows):
            real = TARGETS.boxes[rows].double()
            apart, nearest = torch.cdist(places[:, :2], (real[:, :2] + real[:, 2:]) / 2).min(1)
            sides = real[:, 2:] - real[:, :2]
            close = apart < torch.maximum(sides.amax(1)[nearest], 2 * places[:, 2])
            aim[close] = real[nearest[close]]
            logits[picture, TARGETS.labels[rows[nearest[close]]], close.nonzero().squeeze(1)] += 3
        boxes[picture] = aim + boxes[picture] * (aim[:, 2:] - aim[:, :2]).repeat(1, 2)
    return boxes.float(), logits.float()


def layers(depth: int, queries: int, k: int) -> tuple[Tensor, Tensor]:
    """Boxes (B, L, Q, 4) as shares, query after query near the targets, and class logits (B, L, CLASSES, Q)."""
    boxes = noise((TARGETS.batch, depth, queries, 4), k, 0.1, 0.3)
    logits = noise((TARGETS.batch, depth, CLASSES, queries), k + 1, -4, 1)
    for picture in range(TARGETS.batch):
        rows = (TARGETS.image == picture).nonzero().squeeze(1)
        if len(rows):
            aim = to_shares(TARGETS.boxes[rows].double(), EXTENT.double())[torch.arange(queries) % len(rows)]
            boxes[picture] = aim + noise((depth, queries, 4), k + 2 + picture, -0.4, 0.4) * aim[:, 2:].repeat(1, 2)
    return boxes.float().requires_grad_(), logits.float().requires_grad_()


def pairs() -> tuple[Tensor, Tensor]:
    """200 pairs of boxes, float64: apart and overlapping, the half of them of 2 to 8 px."""
    u = noise((8, 200), 1)
    sides = torch.where(torch.arange(200) % 2 == 0, 2 + 6 * u[:2], 8 + 80 * u[:2])
    low = 100 + 10 * u[2:4]
    target = torch.cat((low, low + sides))
    moved = target + (u[4:8] - 0.5) * 1.5 * sides.repeat(2, 1)
    left, right = torch.minimum(moved[:2], moved[2:]), torch.maximum(moved[:2], moved[2:])
    return torch.cat((left, right + 0.5)).T.contiguous(), target.T.contiguous()


def check(what: str, terms: Mapping[str, Tensor], leaves: list[Tensor], rel: float = 1e-5) -> None:
    """Every recorded term and the gradient of their sum, as sum of absolute values."""
    names = {key.removeprefix(f"{what} "): key for key in GOLDEN if key.startswith(f"{what} ")}
    assert names.keys() - {"gradient"} == terms.keys()
    for name, value in terms.items():
        assert value.sum().item() == pytest.approx(GOLDEN[names[name]], rel=rel), name
    torch.stack([value.sum() for value in terms.values()]).sum().backward()
    found = sum(leaf.grad.double().abs().sum().item() for leaf in leaves)
    assert found == pytest.approx(GOLDEN[names["gradient"]], rel=rel)


@pytest.mark.parametrize("name", ["giou", "diou", "ciou"])
def test_box_loss(name: str) -> None:
    pred, target = pairs()
    pred.requires_grad_()
    found = box_loss(name)(pred, target, stride=torch.full_like(pred[:, 0], 8.0), image_size=(HEIGHT, WIDTH))
    check(f"box loss {name}:", {"values": found}, [pred], 1e-6)


@pytest.mark.parametrize(
    ("what", "call"),
    [
        ("focal loss:", focal),
        ("focal loss (alpha 0.4, gamma 1.5):", lambda x, y: focal(x, y, 0.4, 1.5)),
        ("quality focal loss, hard labels:", quality_focal),
    ],
)
def test_focal_losses(what: str, call: Callable[[Tensor, Tensor], Tensor]) -> None:
    logits = noise((100, 3), 1, -8, 8).float().requires_grad_()
    check(what, {"values": call(logits, (noise((100, 3), 2) < 0.2).float())}, [logits])


def test_varifocal_loss() -> None:
    quality = (noise((100, 3), 2) < 0.2) * noise((100, 3), 3, 0.05, 1)
    found = varifocal(noise((100, 3), 1, -8, 8), quality).mean(1).sum()
    assert found.item() == pytest.approx(GOLDEN["varifocal loss, sum over mean of classes"], rel=1e-5)


def test_yolox() -> None:
    strides = (8, 16, 32)
    places = make_anchors([(HEIGHT // s, WIDTH // s) for s in strides], strides, torch.device("cpu"))
    boxes, scores = predicted(places[0], 30)
    raw = {
        "boxes": encode(boxes.flatten(0, 1), places[0].repeat(len(boxes), 1)).view(boxes.shape).transpose(1, 2),
        "objectness": scores.amax(1, keepdim=True) + 1,
        "scores": scores,
    }
    raw = {name: value.clone().requires_grad_() for name, value in raw.items()}
    loss = YOLOXLoss()
    loss.closing = True
    rows = Rows({**raw, "anchors": places}, strides, decode, offset=0.5)
    found = loss.assigner(rows, TARGETS, rows.candidates)
    assert len(found.rows) == GOLDEN["simota: pairs of point and target"]
    assert found.weights.sum().item() == pytest.approx(GOLDEN["simota: class targets"], rel=1e-5)
    check("YOLOX loss:", loss({**raw, "anchors": places}, TARGETS, strides).terms, list(raw.values()))


@pytest.mark.parametrize(("version", "chosen"), [("", None), ("-v2", "giou")])
def test_retinanet(version: str, chosen: str | None) -> None:
    strides = (8, 16, 32, 64, 128)
    head = RetinaHead([Level(8, stride) for stride in strides], CLASSES)
    places = head.anchors([torch.zeros(1, 8, HEIGHT // s, WIDTH // s) for s in strides])
    boxes, scores = predicted(places[0, :, :3], 50)
    deltas = deltas_of(boxes, places).transpose(1, 2).clamp(-3, 3).requires_grad_()
    raw = {"boxes": deltas, "scores": scores.requires_grad_(), "anchors": places}
    loss = RetinaLoss(box_loss=chosen)
    anchors = Rows(raw, strides, boxes_of, 0.0, ANCHORS)
    found = loss.assigner(anchors, TARGETS, anchors.candidates)
    assert len(found.rows) == GOLDEN["max_iou: pairs of anchor and target"]
    assert len(found.ignored_rows) == GOLDEN["max_iou: anchors between"]
    check(f"RetinaNet{version} loss:", loss(raw, TARGETS, strides).terms, [deltas, scores])


def test_rtdetr() -> None:
    boxes, logits = layers(4, 60, 60)
    wanted = Denoising(CLASSES, 4, 100)(TARGETS, EXTENT, 60).targets
    mended, guessed = layers(3, wanted.shape[1], 80)
    raw = {
        "boxes": boxes[:, 0],
        "scores": logits[:, 0],
        "extent": EXTENT,
        "auxiliary_boxes": boxes[:, 1:],
        "auxiliary_scores": logits[:, 1:],
        "denoising_boxes": mended,
        "denoising_scores": guessed,
        "denoising_targets": wanted,
    }
    loss = SetLoss()
    matches = loss.assigner(logits.sigmoid(), boxes, TARGETS, EXTENT)
    assert len(matches.layer) == GOLDEN["hungarian: layer, picture, query, target"]
    check("RT-DETR loss:", loss(raw, TARGETS, 8).terms, [boxes, logits, mended, guessed])
