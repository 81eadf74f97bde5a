"""State dicts of GPViT to ours and back: the plain transformer, and the detector with adapter and RetinaNet head.

The names are facts of the published files (`state_dict` in them). One thing changes besides names: the file has the
queries, keys and values of both strip directions in one layer, `qkv`, of which ours are rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import cast

import torch
from torch import Tensor

from finespot.nn.backbones import GPViT, GPViTAdapter
from finespot.nn.backbones.gpvit import SIZES, Trunk
from finespot.nn.backbones.gpvit_adapter import Exchange, SpatialPrior
from finespot.nn.heads import RetinaHead
from finespot.nn.layers.group_block import GroupBlock
from finespot.nn.necks import FPN
from finespot.structures import Architecture
from finespot.weights.foreign.layout import Entry, affine_entries, norm_entries, plain_network, split_conv
from finespot.weights.foreign.mmdetection_retinanet import classes_of, neck_and_head
from finespot.zoo.retinanet import IMAGENET

# The picture lies in the top left corner; the original pads with zeros after normalization.
FIT = "corner"
NORMALIZATION = IMAGENET

# Layers with weight and bias: their name in the file to ours.
_LOCAL = {"norm1": "before_attention", "proj": "project", "norm2": "before_feed_forward"}
_FEED_FORWARD = {"layers.0.0": "expand", "layers.1": "contract"}
_GATHER = {"norm_query": "query_norm", "norm_key": "key_norm", "attn.k_proj": "key"}
_MIXER = {
    "norm1": "token_norm",
    "patch_mixer.0": "tokens.expand",
    "patch_mixer.3": "tokens.contract",
    "norm2": "channel_norm",
    "channel_mixer.0": "channels.expand",
    "channel_mixer.3": "channels.contract",
}
_GIVE_BACK = {
    "norm_query": "query_norm",
    "norm_key": "key_norm",
    "attn.q_proj": "query",
    "attn.k_proj": "key",
    "attn.v_proj": "value",
    "attn.proj": "project",
    "proj": "join",
    "norm2": "before_feed_forward",
}
_ATTENTION = {
    "query_norm": "query_norm",
    "feat_norm": "memory_norm",
    "attn.sampling_offsets": "attention.offsets",
    "attn.attention_weights": "attention.weights",
    "attn.value_proj": "attention.value",
    "attn.output_proj": "attention.out",
}
_EXTRACTOR = {
    **_ATTENTION,
    "ffn.fc1": "expand",
    "ffn.dwconv.dwconv": "spread",
    "ffn.fc2": "contract",
    "ffn_norm": "feed_forward_norm",
}


def entries(architecture: Architecture) -> Iterator[Entry]:
    """All tensors of a detector's file."""
    detector = plain_network(
        architecture, "a GPViT with its detection adapter", backbone=GPViTAdapter, neck=FPN, head=RetinaHead
    )
    yield from adapter_entries(cast(GPViTAdapter, detector.backbone), "backbone.", "backbone.")
    yield from neck_and_head(detector)


def recognize(state: Mapping[str, Tensor]) -> Architecture | None:
    """The network of a detector's state dict, or None where it is no GPViT with adapter and RetinaNet head."""
    codes, classes = state.get("backbone.pos_embed"), classes_of(state)
    if codes is None or classes is None or "backbone.level_embed" not in state:
        return None
    size = next((name for name, width in SIZES.items() if width.channels == codes.shape[-1]), None)
    return None if size is None else Architecture("gpvit", size, classes)


def plain_entries(backbone: GPViT, key: str = "", name: str = "") -> Iterator[Entry]:
    """The tensors of the plain transformer (`name` in front of ours, `key` of the file's) with its last norm."""
    yield from _trunk(backbone.trunk, key, f"{name}trunk.")
    yield from affine_entries(f"{key}ln1", f"{name}norm")


def adapter_entries(backbone: GPViTAdapter, key: str = "", name: str = "") -> Iterator[Entry]:
    """The tensors of the transformer with its adapter, of three levels or with the fourth of stride 4."""
    yield Entry(f"{key}level_embed", (f"{name}level_codes",))
    yield from _trunk(backbone.trunk, key, f"{name}trunk.")
    yield from _prior(backbone.prior, f"{key}spm.", f"{name}prior.")
    for i, exchange in enumerate(cast("Iterable[Exchange]", backbone.exchanges)):
        ours, theirs = f"{name}exchanges.{i}.", f"{key}interactions.{i}."
        yield Entry(f"{theirs}injector.gamma", (f"{ours}injector.gamma",))
        yield from _layers(_ATTENTION, f"{theirs}injector.", f"{ours}injector.")
        for j in range(len(exchange.extractors)):
            part = "extractor." if j == 0 else f"extra_extractors.{j - 1}."
            yield from _layers(_EXTRACTOR, f"{theirs}{part}", f"{ours}extractors.{j}.")
    if backbone.up is not None:
        yield from affine_entries(f"{key}up", f"{name}up")
    for level in backbone.norms:
        yield from norm_entries(f"{key}ad_norm{int(level[1:]) - 1}", f"{name}norms.{level}")


def _trunk(trunk: Trunk, key: str, name: str) -> Iterator[Entry]:
    yield Entry(f"{key}pos_embed", (f"{name}positions",))
    yield from split_conv(f"{key}patch_embed.stem.0", f"{key}patch_embed.stem.1", f"{name}stem.0")
    for i in range(1, len(trunk.stem)):
        place = f"{key}patch_embed.convs"
        yield from split_conv(f"{place}.{3 * i - 3}", f"{place}.{3 * i - 2}", f"{name}stem.{i}")
    yield from affine_entries(f"{key}patch_embed.projection", f"{name}patches")
    for i, block in enumerate(trunk.blocks):
        make = _group if isinstance(block, GroupBlock) else _local
        yield from make(f"{key}layers.{i}.", f"{name}blocks.{i}.", trunk.channels)


def _local(key: str, name: str, channels: int) -> Iterator[Entry]:
    ways = ("vertical", "horizontal")
    ours = [f"{name}{way}.{part}" for part in ("query", "key", "value") for way in ways]
    rows = tuple(torch.arange(3 * channels, device="cpu").split(channels // 2))
    for part in ("weight", "bias"):
        yield Entry(f"{key}qkv.{part}", tuple(f"{one}.{part}" for one in ours), rows)
    for i, way in enumerate(ways):
        yield from affine_entries(f"{key}attns.{i}.get_v", f"{name}{way}.position")
    yield from _layers(_LOCAL, key, name)
    yield from _layers(_FEED_FORWARD, f"{key}ffn.", f"{name}feed_forward.")
    yield Entry(f"{key}dw.weight", (f"{name}spread.weight",))


def _group(key: str, name: str, channels: int) -> Iterator[Entry]:
    yield Entry(f"{key}group_token", (f"{name}tokens",), shape=(1, -1, channels))
    yield from _layers(_GATHER, f"{key}group_layer.", f"{name}gather.")
    yield from _layers(_MIXER, f"{key}mixer.layers.0.", f"{name}mixer.")
    yield from _layers(_GIVE_BACK, f"{key}un_group_layer.", f"{name}give_back.")
    yield from _layers(_FEED_FORWARD, f"{key}un_group_layer.ffn.", f"{name}give_back.feed_forward.")
    yield from split_conv(f"{key}dwconv.0", f"{key}dwconv.1", f"{name}spread")


def _prior(prior: SpatialPrior, key: str, name: str) -> Iterator[Entry]:
    for i in range(len(prior.stem)):
        yield from split_conv(f"{key}stem.{3 * i}", f"{key}stem.{3 * i + 1}", f"{name}stem.{i}")
    for i in range(len(prior.down)):
        yield from split_conv(f"{key}conv{i + 2}.0", f"{key}conv{i + 2}.1", f"{name}down.{i}")
    if prior.fine is not None:
        yield from affine_entries(f"{key}fc1", f"{name}fine")
    for i in range(len(prior.project)):
        yield from affine_entries(f"{key}fc{i + 2}", f"{name}project.{i}")


def _layers(names: Mapping[str, str], key: str, name: str) -> Iterator[Entry]:
    for theirs, ours in names.items():
        yield from affine_entries(f"{key}{theirs}", f"{name}{ours}")
