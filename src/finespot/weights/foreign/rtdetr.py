"""State dicts of RT-DETR as its authors' PyTorch code names them (v1 and v2), to ours and back.

Part names and shapes are facts of the published files. Besides names one thing changes: query, key and value of self
attention are one matrix there and three here. Files of v2 carry constants that we compute (`spare`); where a backbone's
batch norm was frozen, its batch counters are not in the file. The order of the keys is ours.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import cast

import torch
from torch import Tensor, nn

from finespot import zoo
from finespot.nn.backbones import HGNetV2, ResNetVD
from finespot.nn.heads import RTDETRHead
from finespot.nn.layers import Conv, CSPRep, RepVGG, SelfAttention
from finespot.nn.necks import HybridEncoder
from finespot.structures import Architecture, Normalization
from finespot.weights.foreign.layout import (
    Entry,
    affine_entries,
    conv_entries,
    count,
    from_file,
    plain_network,
    to_file,
)

FIT = "stretch"
NORMALIZATION = Normalization()

_SPARE = re.compile(r"decoder\.(anchors|valid_mask|decoder\.layers\.\d+\.cross_attn\.num_points_scale)")
# Their part names of a block, of HGNetV2's stem, of a decoder layer.
_SECOND = re.compile(r"^(encoder\.input_proj\.\d+|decoder\.enc_output)\.(conv|proj|norm)\.")
_PLACES = {"conv": "0", "proj": "0", "norm": "1"}
_BRANCHES = {"first": "branch2a", "second": "branch2b", "third": "branch2c"}
_STEM = {"down1": "stem1", "narrow": "stem2a", "widen": "stem2b", "down2": "stem3", "mix": "stem4"}
_ENCODER_LAYER = {
    "attention_norm": "norm1",
    "feedforward.expand": "linear1",
    "feedforward.contract": "linear2",
    "feedforward_norm": "norm2",
}
_DECODER_LAYER = {
    "attention_norm": "norm1",
    "cross.offsets": "cross_attn.sampling_offsets",
    "cross.weights": "cross_attn.attention_weights",
    "cross.value": "cross_attn.value_proj",
    "cross.out": "cross_attn.output_proj",
    "cross_norm": "norm2",
    "feedforward.expand": "linear1",
    "feedforward.contract": "linear2",
    "feedforward_norm": "norm3",
}


def from_rtdetr(state: Mapping[str, Tensor], architecture: Architecture) -> dict[str, Tensor]:
    """A file's state dict under our names, for `Detector.load_state_dict`; see `layout.from_file`."""
    return from_file(state, entries(architecture), architecture, spare(state))


def to_rtdetr(state: Mapping[str, Tensor], architecture: Architecture) -> dict[str, Tensor]:
    """Our state dict (unfused) under the authors' names: the inverse of `from_rtdetr`."""
    return to_file(state, entries(architecture))


def renamed(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A state dict under the names of the first release: the second calls two kinds of pairs otherwise."""
    return {_SECOND.sub(lambda found: f"{found[1]}.{_PLACES[found[2]]}.", key): value for key, value in state.items()}


def spare(state: Mapping[str, Tensor]) -> list[str]:
    """Keys of a file (v2) that hold constants for which we have no place."""
    return [key for key in state if _SPARE.fullmatch(key)]


def entries(architecture: Architecture) -> Iterator[Entry]:
    """All tensors of the file.

    Raises
    ------
    FineSpotError
        The network has parts that no such file holds.
    """
    detector = plain_network(
        architecture,
        "a released RT-DETR",
        backbone=ResNetVD | HGNetV2,
        neck=HybridEncoder,
        head=RTDETRHead,
        levels=3,
    )
    backbone, neck, head = detector.backbone, detector.neck, detector.head
    yield from _resnet(backbone) if isinstance(backbone, ResNetVD) else _hgnet(cast(HGNetV2, backbone))
    yield from _encoder(cast(HybridEncoder, neck))
    yield from _decoder(head)


def recognize(state: Mapping[str, Tensor]) -> Architecture | None:
    """The network whose state dict this is in the authors' naming, or None."""
    scores = state.get("decoder.enc_score_head.weight")
    stem = state.get("backbone.stem.stem4.conv.weight")
    if stem is not None:
        size = {48: "l", 64: "x"}.get(len(stem))
    else:
        blocks = count(state, r"backbone\.res_layers\.2\.blocks\.\d+\.branch2a\.conv\.weight")
        size = resnet_size(blocks, "backbone.res_layers.0.blocks.0.branch2c.conv.weight" in state)
    if scores is None or size is None:
        return None
    layers = count(state, r"decoder\.dec_score_head\.\d+\.weight")
    return architecture_of(size, len(scores), layers, "decoder.denoising_class_embed.weight" in state)


def resnet_size(blocks: int, bottleneck: bool) -> str | None:
    """The size, by the number and the kind of the blocks in the stage of stride 16."""
    return {(2, False): "r18", (6, False): "r34", (6, True): "r50", (23, True): "r101"}.get((blocks, bottleneck))


def architecture_of(size: str, classes: int, layers: int, denoising: bool) -> Architecture:
    """The architecture, with what is not the size's own among its options."""
    options = {} if layers == zoo.RTDETR.sizes[size].layers else {"layers": layers}
    return Architecture("rtdetr", size, classes, options if denoising else {**options, "denoising": 0})


def _conv(key: str, name: str, norm: str = "norm") -> Iterator[Entry]:
    return conv_entries(key, (name,), norm=norm)


def _resnet(backbone: ResNetVD) -> Iterator[Entry]:
    for number, part in enumerate(("first", "second", "third"), start=1):
        yield from _conv(f"backbone.conv1.conv1_{number}", f"backbone.stem.{part}")
    for s, stage in enumerate(backbone.stages):
        for b, block in enumerate(cast(nn.Sequential, stage)):
            key, name = f"backbone.res_layers.{s}.blocks.{b}", f"backbone.stages.{s}.{b}"
            for part, _ in cast(nn.Sequential, block.body).named_children():
                yield from _conv(f"{key}.{_BRANCHES[part]}", f"{name}.body.{part}")
            if not isinstance(block.shortcut, nn.Identity):
                yield from _conv(f"{key}.short" if s == 0 else f"{key}.short.conv", f"{name}.shortcut.project")


def _hgnet(backbone: HGNetV2) -> Iterator[Entry]:
    for part, theirs in _STEM.items():
        padded = part in ("narrow", "widen")  # theirs pads in a module before the convolution
        conv = "conv.1" if padded else "conv"
        yield from conv_entries(f"backbone.stem.{theirs}", (f"backbone.stem.{part}",), conv=conv)
    for s, stage in enumerate(backbone.stages):
        key, name = f"backbone.stages.{s}", f"backbone.stages.{s}"
        if s:
            yield from _conv(f"{key}.downsample", f"{name}.down", "bn")
        for b, block in enumerate(cast(nn.Sequential, stage.blocks)):
            yield from _hg_block(block, f"{key}.blocks.{b}", f"{name}.blocks.{b}")


def _hg_block(block: nn.Module, key: str, name: str) -> Iterator[Entry]:
    for i, layer in enumerate(cast(nn.ModuleList, block.chain)):
        if isinstance(layer, Conv):
            yield from _conv(f"{key}.layers.{i}", f"{name}.chain.{i}", "bn")
        else:
            yield from _conv(f"{key}.layers.{i}.conv1", f"{name}.chain.{i}.mix", "bn")
            yield from _conv(f"{key}.layers.{i}.conv2", f"{name}.chain.{i}.spatial", "bn")
    yield from _conv(f"{key}.aggregation_squeeze_conv", f"{name}.squeeze", "bn")
    yield from _conv(f"{key}.aggregation_excitation_conv", f"{name}.excite", "bn")


def _encoder(neck: HybridEncoder) -> Iterator[Entry]:
    for i, level in enumerate(neck.project):
        yield from conv_entries(f"encoder.input_proj.{i}", (f"neck.project.{level}",), conv="0", norm="1")
    key, name = "encoder.encoder.0.layers.0", "neck.attention.layer"
    yield from _attention(neck.attention.layer.attention, f"{key}.self_attn", f"{name}.attention")
    for ours, theirs in _ENCODER_LAYER.items():
        yield from affine_entries(f"{key}.{theirs}", f"{name}.{ours}")
    ways = (
        (neck.top_down, "top_down", "lateral", "lateral_convs", "fpn_blocks"),
        (neck.bottom_up, "bottom_up", "down", "downsample_convs", "pan_blocks"),
    )
    for steps, way, conv, convs, blocks in ways:
        for i, (level, step) in enumerate(steps.items()):
            yield from _conv(f"encoder.{convs}.{i}", f"neck.{way}.{level}.{conv}")
            yield from _csp(cast(CSPRep, step.block), f"encoder.{blocks}.{i}", f"neck.{way}.{level}.block")


def _csp(block: CSPRep, key: str, name: str) -> Iterator[Entry]:
    for i in range(2):
        yield from _conv(f"{key}.conv{i + 1}", f"{name}.entry.branches.{i}")
    for j, unit in enumerate(block.units):
        assert isinstance(unit, RepVGG)
        yield from _conv(f"{key}.bottlenecks.{j}.conv1", f"{name}.units.{j}.dense")
        yield from _conv(f"{key}.bottlenecks.{j}.conv2", f"{name}.units.{j}.point")
    if isinstance(block.exit, Conv):
        yield from _conv(f"{key}.conv3", f"{name}.exit")


def _attention(attention: SelfAttention, key: str, name: str) -> Iterator[Entry]:
    """Their rows are those of query, key and value one after another."""
    width = attention.out.in_features
    rows = tuple(torch.arange(3 * width, device="cpu").split(width))
    for part in ("weight", "bias"):
        yield Entry(f"{key}.in_proj_{part}", tuple(f"{name}.{one}.{part}" for one in ("query", "key", "value")), rows)
    yield from affine_entries(f"{key}.out_proj", f"{name}.out")


def _decoder(head: RTDETRHead) -> Iterator[Entry]:
    for i, level in enumerate(head.project):
        yield from _conv(f"decoder.input_proj.{i}", f"head.project.{level}")
    for i, layer in enumerate(head.layers):
        key, name = f"decoder.decoder.layers.{i}", f"head.layers.{i}"
        yield from _attention(cast(SelfAttention, layer.attention), f"{key}.self_attn", f"{name}.attention")
        for ours, theirs in _DECODER_LAYER.items():
            yield from affine_entries(f"{key}.{theirs}", f"{name}.{ours}")
    if head.denoising is not None:
        labels = tuple(torch.arange(head.classes + 1, device="cpu").split([head.classes, 1]))
        held = ("head.denoising.labels.weight", "head.denoising.padding")
        yield Entry("decoder.denoising_class_embed.weight", held, labels)
    for i in range(2):
        yield from affine_entries(f"decoder.query_pos_head.layers.{i}", f"head.position.layers.{i}")
    yield from affine_entries("decoder.enc_output.0", "head.selection.mix")
    yield from affine_entries("decoder.enc_output.1", "head.selection.norm")
    yield from affine_entries("decoder.enc_score_head", "head.selection.scores")
    yield from _mlp("decoder.enc_bbox_head", "head.selection.boxes")
    for i in range(len(head.layers)):
        yield from affine_entries(f"decoder.dec_score_head.{i}", f"head.class_layers.{i}")
        yield from _mlp(f"decoder.dec_bbox_head.{i}", f"head.box_layers.{i}")


def _mlp(key: str, name: str) -> Iterator[Entry]:
    for i in range(3):
        yield from affine_entries(f"{key}.layers.{i}", f"{name}.layers.{i}")
