"""Matching and loss of RT-DETR against the authors' criterion and that of transformers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.peers import originals
from benchmarks.peers.loss_inputs import CLASSES, HEIGHT, WIDTH, noise
from benchmarks.peers.loss_rows import Row, choices, leaf, losses, values
from finespot.boxes.normalized import to_shares
from finespot.nn.heads.denoising import Denoising
from finespot.nn.heads.set_loss import SetLoss
from finespot.structures import Targets

QUERIES = 60
# Fewer than a picture has objects.
FEW = 10
LAYERS = 3
DENOISING = 100
EXTENT = torch.tensor([[WIDTH, HEIGHT, WIDTH, HEIGHT]], dtype=torch.float32)


def layers(targets: Targets, shape: tuple[int, int], k: int) -> tuple[Tensor, Tensor]:
    """Boxes (B, L, Q, 4) as shares and class logits (B, L, CLASSES, Q): query q lies near the target q of its picture,
    again and again; in pictures without targets anywhere."""
    depth, queries = shape
    boxes = noise((targets.batch, depth, queries, 4), k, 0.1, 0.3)
    logits = noise((targets.batch, depth, CLASSES, queries), k + 1, -4, 1)
    for picture in range(targets.batch):
        rows = (targets.image == picture).nonzero().squeeze(1)
        if len(rows):
            aim = to_shares(targets.boxes[rows].double(), EXTENT.double())[torch.arange(queries) % len(rows)]
            moved = noise((depth, queries, 4), k + 2 + picture, -0.4, 0.4) * aim[:, 2:].repeat(1, 2)
            boxes[picture] = aim + moved
    return boxes.float(), logits.float()


def raw_outputs(targets: Targets, queries: int = QUERIES) -> dict[str, Tensor]:
    """What our head gives in training: last layer, selection and earlier layers, denoising queries."""
    boxes, logits = layers(targets, (LAYERS + 1, queries), 60)
    noised = Denoising(CLASSES, 4, DENOISING)(targets, EXTENT, QUERIES)
    mended, guessed = layers(targets, (LAYERS, noised.targets.shape[1]), 80)
    return {
        "boxes": leaf(boxes[:, 0]),
        "scores": leaf(logits[:, 0]),
        "extent": EXTENT,
        "auxiliary_boxes": leaf(boxes[:, 1:]),
        "auxiliary_scores": leaf(logits[:, 1:]),
        "denoising_boxes": leaf(mended),
        "denoising_scores": leaf(guessed),
        "denoising_targets": noised.targets,
    }


def leaves(raw: dict[str, Tensor]) -> list[Tensor]:
    return [value for value in raw.values() if value.requires_grad]


def truth_of(targets: Targets, name: str) -> list[dict[str, Tensor]]:
    """Labels under `name` and boxes as shares, picture by picture."""
    found = []
    for picture in range(targets.batch):
        rows = targets.image == picture
        found.append({name: targets.labels[rows], "boxes": to_shares(targets.boxes[rows], EXTENT)})
    return found


def sums(
    found: dict[str, Tensor], names: tuple[str, ...] = ("loss_vfl", "loss_bbox", "loss_giou")
) -> dict[str, Tensor]:
    """A criterion's answer in our terms."""
    terms = {ours: found[theirs] for ours, theirs in zip(("cls", "l1", "box"), names)}
    zero = torch.zeros(())
    terms["auxiliary"] = sum((v for k, v in found.items() if "_aux_" in k or "_enc_" in k), zero)
    terms["denoising"] = sum((v for k, v in found.items() if "_dn_" in k), zero)
    return terms


def author_rows(folder: Path, targets: Targets) -> list[Row]:
    """Denoising layout, costs, matching and criterion of the authors' second release."""
    parts: Any = originals.rtdetr_criterion(folder)
    truth = truth_of(targets, "labels")
    torch.manual_seed(0)
    _, _, hidden, meta = parts.denoising(truth, CLASSES, QUERIES, nn.Embedding(CLASSES + 1, 4), DENOISING)
    noised = Denoising(CLASSES, 4, DENOISING)(targets, EXTENT, QUERIES)
    positive = [(p, int(q)) for p, found in enumerate(meta["dn_positive_idx"]) for q in found]
    rows = [
        choices("denoising: positive queries", "RT-DETR", zip(*_pairs(noised.targets)), positive),
        values("denoising: who may see whom", "RT-DETR", noised.allowed, ~hidden),
    ]
    matcher = parts.matcher({"cost_class": 2, "cost_bbox": 5, "cost_giou": 2}, use_focal_loss=True)
    raw, other = raw_outputs(targets), raw_outputs(targets)
    given = by_layer(other)
    loss = SetLoss()

    def solve(one: Any) -> Any:
        return parts.costs_and_matches(matcher, one, truth)

    rows += matching("", loss.assigner, raw, given, targets, solve)
    few = raw_outputs(targets, FEW)
    rows += matching(f" ({FEW} queries)", loss.assigner, few, by_layer(few), targets, solve)

    weights = {"loss_vfl": 1, "loss_bbox": 5, "loss_giou": 2}
    criterion = parts.criterion(matcher, weights, ["vfl", "boxes"], alpha=0.75, gamma=2.0, num_classes=CLASSES)
    outputs = {
        **given[0],
        "enc_aux_outputs": given[1:2],
        "enc_meta": {"class_agnostic": False},
        "aux_outputs": given[2:],
        "dn_aux_outputs": [
            {"pred_boxes": boxes, "pred_logits": logits.transpose(1, 2)}
            for boxes, logits in zip(other["denoising_boxes"].unbind(1), other["denoising_scores"].unbind(1))
        ],
        "dn_meta": meta,
    }
    theirs = sums(criterion(outputs, truth))
    return [
        *rows,
        *losses("RT-DETR loss:", "RT-DETR", loss(raw, targets, 8).terms, theirs, (leaves(raw), leaves(other))),
    ]


def by_layer(raw: dict[str, Tensor]) -> list[dict[str, Tensor]]:
    """The last layer, selection and earlier layers as the authors' criterion takes them."""
    boxes = [raw["boxes"], *raw["auxiliary_boxes"].unbind(1)]
    logits = [raw["scores"], *raw["auxiliary_scores"].unbind(1)]
    return [{"pred_boxes": one, "pred_logits": two.transpose(1, 2)} for one, two in zip(boxes, logits)]


def _pairs(table: Tensor) -> tuple[list[int], list[int]]:
    picture, query = (table >= 0).nonzero().unbind(1)
    return picture.tolist(), query.tolist()


def matching(
    tag: str, assigner: Any, raw: dict[str, Tensor], given: list[Any], targets: Targets, solve: Any
) -> list[Row]:
    """Costs of every query and target, and the matches, of all layers."""
    boxes = torch.cat((raw["boxes"][:, None], raw["auxiliary_boxes"]), 1).detach()
    scores = torch.cat((raw["scores"][:, None], raw["auxiliary_scores"]), 1).detach().sigmoid()
    found = assigner(scores, boxes, targets, EXTENT)
    own = list(zip(*(part.tolist() for part in found)))
    first = torch.searchsorted(targets.image, torch.arange(targets.batch)).tolist()
    theirs, costs, wanted = [], [], []
    for layer, one in enumerate(given):
        tables, matches = solve(one)
        for picture, (table, (query, target)) in enumerate(zip(tables, matches)):
            rows = (targets.image == picture).nonzero().squeeze(1)
            cost = assigner.cost(scores[picture], boxes[picture], targets, rows, EXTENT, (HEIGHT, WIDTH))[layer]
            # Ours has 1 - GIoU where theirs has - GIoU.
            costs.append((cost.T - assigner.box).flatten())
            wanted.append(table.flatten())
            theirs += [(layer, picture, q, first[picture] + t) for q, t in zip(query.tolist(), target.tolist())]
    return [
        values(f"hungarian{tag}: costs", "RT-DETR", torch.cat(costs), torch.cat(wanted)),
        choices(f"hungarian{tag}: layer, picture, query, target", "RT-DETR", own, theirs),
    ]


def transformers_rows(targets: Targets) -> list[Row]:
    """The loss of transformers' RT-DETR."""
    from transformers import RTDetrConfig
    from transformers.loss.loss_rt_detr import RTDetrForObjectDetectionLoss

    raw, other = raw_outputs(targets), raw_outputs(targets)
    picture = torch.arange(targets.batch)
    wanted = other["denoising_targets"]
    places = max(int(torch.bincount(targets.image, minlength=targets.batch).max()), 1)
    meta = {
        "dn_positive_idx": [(wanted[i] >= 0).nonzero().squeeze(1) for i in picture],
        "dn_num_group": wanted.shape[1] // (2 * places),
        "dn_num_split": [wanted.shape[1], QUERIES],
    }
    # Theirs has denoising queries first, layers from first to last, and selection apart.
    boxes = torch.cat((other["auxiliary_boxes"][:, 1:], other["boxes"][:, None]), 1)
    logits = torch.cat((other["auxiliary_scores"][:, 1:], other["scores"][:, None]), 1)
    boxes = torch.cat((other["denoising_boxes"], boxes), 2)
    logits = torch.cat((other["denoising_scores"], logits), 3).transpose(2, 3)
    _, found, _ = RTDetrForObjectDetectionLoss(
        logits[:, -1],
        truth_of(targets, "class_labels"),
        torch.device("cpu"),
        boxes[:, -1],
        RTDetrConfig(num_labels=CLASSES),
        logits,
        boxes,
        other["auxiliary_scores"][:, 0].transpose(1, 2),
        other["auxiliary_boxes"][:, 0],
        meta,
    )
    ours = SetLoss()(raw, targets, 8).terms
    return losses("RT-DETR loss:", "transformers", ours, sums(found), (leaves(raw), leaves(other)))
