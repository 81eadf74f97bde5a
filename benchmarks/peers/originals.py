"""Networks of the original toolkits, random, as the comparisons need them: transformers, torchvision, checkouts.

Only these functions import a peer, and only when they are called. YOLOX and the authors' RT-DETR are no packages:
`--originals DIR` names a folder with checkouts of their repositories (YOLOX at 6ddff48, RT-DETR at 068dfde; both under
Apache-2.0).
"""

from __future__ import annotations

import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

# Depth and width of YOLOX by size; the smallest is depth-wise.
YOLOX = {
    "nano": (0.33, 0.25),
    "tiny": (0.33, 0.375),
    "s": (0.33, 0.50),
    "m": (0.67, 0.75),
    "l": (1.0, 1.0),
    "x": (1.33, 1.25),
}
# Backbone depth, decoder layers, encoder expansion, encoder width, feed-forward width of RT-DETR by size.
RTDETR = {
    "r18": (18, 3, 0.5, 256, 1024),
    "r34": (34, 4, 0.5, 256, 1024),
    "r50": (50, 6, 1.0, 256, 1024),
    "r101": (101, 6, 1.0, 384, 2048),
    "l": ("L", 6, 1.0, 256, 1024),
    "x": ("X", 6, 1.0, 384, 2048),
}


def shaken(model: nn.Module, seed: int = 0) -> nn.Module:
    """The model in eval mode with random norms: fresh ones are the identity, which would hide a forgotten layer.

    Layers that start at zero get small weights, so that all that lies behind them matters.
    """
    draw = torch.Generator().manual_seed(seed)
    for name, value in [*model.named_parameters(), *model.named_buffers()]:
        if not value.is_floating_point() or name.endswith("num_points_scale"):  # a constant
            continue
        low, high = (0.7, 1.3) if name.endswith("running_var") else (-0.1, 0.1)
        noise = torch.rand(value.shape, generator=draw) * (high - low) + low
        if name.endswith(("running_var", "running_mean")):
            value.data.copy_(noise)
        elif value.ndim == 1 or not bool(value.abs().sum() > 0):
            value.data.add_(0.2 * noise if value.ndim > 1 else noise)
    return model.eval()


def calibrated(model: nn.Module, run: Callable[[Tensor], Any], images: Tensor) -> nn.Module:
    """The model in eval mode with batch norms that have the statistics of these pictures.

    With random ones the signal of a deep network dies out, and its outputs say nothing of the layers before the last.
    """
    norms = [part for part in model.modules() if isinstance(part, nn.BatchNorm2d)]
    momentum = [norm.momentum for norm in norms]
    for norm in norms:
        norm.train().momentum = 1.0
    with torch.no_grad():
        run(images)
    for norm, value in zip(norms, momentum):
        norm.momentum = value
    return model.eval()


def yolox(size: str, folder: Path) -> tuple[nn.Module, Any]:
    """Megvii's YOLOX and what gives its raw outputs: box, objectness and class values (B, 5 + classes, N).

    The network reads BGR, and the second is given RGB, as ours is: the import turns the first layer round.
    """
    sys.path.insert(0, str(folder / "YOLOX"))
    from yolox.models import YOLOPAFPN, YOLOXHead

    depth, width = YOLOX[size]
    options = {"depthwise": size == "nano", "act": "silu"}
    trunk = YOLOPAFPN(depth, width, in_channels=[256, 512, 1024], **options)
    head = YOLOXHead(80, width, in_channels=[256, 512, 1024], **options)
    model = nn.Module()
    model.backbone, model.head = trunk, head
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eps, module.momentum = 1e-3, 0.03

    def raw(images: Tensor) -> Tensor:
        head.decode_in_inference = False
        found = head(trunk(images.flip(1))).transpose(1, 2)
        found[:, 4:] = torch.logit(found[:, 4:])  # it hands out probabilities
        return found

    images = torch.rand(2, 3, 256, 320, generator=torch.Generator().manual_seed(0))
    return calibrated(shaken(model), raw, images), raw


def _rtdetr_sources(folder: Path) -> None:
    """Make the modules of the authors' RT-DETR importable one by one, without what their packages would load."""
    root = folder / "RT-DETR" / "rtdetrv2_pytorch" / "src"
    for name in ("src", "src.nn", "src.nn.backbone", "src.zoo", "src.zoo.rtdetr", "src.misc"):
        package = types.ModuleType(name)
        package.__path__ = [str(root.joinpath(*name.split(".")[1:]))]
        sys.modules.setdefault(name, package)
    core: Any = types.ModuleType("src.core")
    core.register = lambda *args, **kwargs: lambda part: part
    sys.modules.setdefault("src.core", core)
    processes: Any = types.ModuleType("src.misc.dist_utils")
    processes.get_world_size, processes.is_dist_available_and_initialized = lambda: 1, lambda: False
    sys.modules.setdefault("src.misc.dist_utils", processes)


def rtdetr_criterion(folder: Path) -> types.SimpleNamespace:
    """What the authors' RT-DETR trains with: matcher, criterion, denoising; and the matcher's costs with its answer."""
    _rtdetr_sources(folder)
    from src.zoo.rtdetr import matcher
    from src.zoo.rtdetr.denoising import get_contrastive_denoising_training_group
    from src.zoo.rtdetr.rtdetrv2_criterion import RTDETRCriterionv2

    solve = matcher.linear_sum_assignment

    def costs_and_matches(made: Any, outputs: Any, truth: Any) -> tuple[list[Tensor], list[tuple[Tensor, Tensor]]]:
        seen: list[Tensor] = []

        def watched(cost: Tensor) -> Any:
            seen.append(cost.clone())
            return solve(cost)

        matcher.linear_sum_assignment = watched
        try:
            found = made(outputs, truth)["indices"]
        finally:
            matcher.linear_sum_assignment = solve
        return seen, found

    return types.SimpleNamespace(
        matcher=matcher.HungarianMatcher,
        criterion=RTDETRCriterionv2,
        denoising=get_contrastive_denoising_training_group,
        costs_and_matches=costs_and_matches,
    )


def rtdetr(size: str, folder: Path) -> tuple[nn.Module, Any]:
    """The authors' RT-DETR (second release) and what gives its class logits and boxes, query by query."""
    _rtdetr_sources(folder)
    from src.nn.backbone.hgnetv2 import HGNetv2
    from src.nn.backbone.presnet import PResNet
    from src.zoo.rtdetr.hybrid_encoder import HybridEncoder
    from src.zoo.rtdetr.rtdetrv2_decoder import RTDETRTransformerv2

    depth, layers, expansion, width, feedforward = RTDETR[size]
    if isinstance(depth, str):
        backbone, channels = HGNetv2(depth, return_idx=[1, 2, 3]), [512, 1024, 2048]
    else:
        backbone = PResNet(depth, variant="d", return_idx=[1, 2, 3], freeze_at=-1, freeze_norm=False)
        channels = [128, 256, 512] if depth < 50 else [512, 1024, 2048]
    model = nn.Module()
    model.backbone = backbone
    model.encoder = HybridEncoder(
        channels, hidden_dim=width, dim_feedforward=feedforward, expansion=expansion, eval_spatial_size=None
    )
    model.decoder = RTDETRTransformerv2(
        80, feat_channels=[width] * 3, num_layers=layers, num_queries=300, eval_spatial_size=None, num_points=[4, 4, 4]
    )

    def raw(images: Tensor) -> tuple[Tensor, Tensor]:
        found = model.decoder(model.encoder(model.backbone(images)))
        return found["pred_logits"], found["pred_boxes"]

    return shaken(model), raw


def transformers_rtdetr(size: str) -> tuple[nn.Module, Any]:
    """RT-DETR of transformers, from its configuration."""
    from transformers import RTDetrConfig, RTDetrForObjectDetection, RTDetrResNetConfig

    depth, layers, expansion, width, feedforward = RTDETR[size]
    depths = {18: [2, 2, 2, 2], 34: [3, 4, 6, 3], 50: [3, 4, 6, 3], 101: [3, 4, 23, 3]}[int(depth)]
    basic = int(depth) < 50
    widths = [64, 128, 256, 512] if basic else [256, 512, 1024, 2048]
    kind = "basic" if basic else "bottleneck"
    backbone = RTDetrResNetConfig(
        depths=depths, hidden_sizes=widths, layer_type=kind, out_features=["stage2", "stage3", "stage4"]
    )
    config = RTDetrConfig(
        backbone_config=backbone,
        use_pretrained_backbone=False,
        encoder_hidden_dim=width,
        encoder_ffn_dim=feedforward,
        encoder_in_channels=widths[1:],
        hidden_expansion=expansion,
        decoder_layers=layers,
        decoder_in_channels=[width] * 3,
        num_labels=80,
    )
    model = RTDetrForObjectDetection(config)

    def raw(images: Tensor) -> tuple[Tensor, Tensor]:
        found = model(pixel_values=images)
        return found.logits, found.pred_boxes

    return shaken(model), raw


def retinanet(form: str) -> tuple[nn.Module, Any]:
    """torchvision's RetinaNet and what gives class logits (B, N, 91) and deltas (B, N, 4) in its order of anchors."""
    from torchvision.models import detection

    build = detection.retinanet_resnet50_fpn if form == "v1" else detection.retinanet_resnet50_fpn_v2
    model = build(weights=None, weights_backbone=None, num_classes=91)

    def raw(images: Tensor) -> tuple[Tensor, Tensor]:
        found = model.head(list(model.backbone(images).values()))
        return found["cls_logits"], found["bbox_regression"]

    return shaken(model), raw
