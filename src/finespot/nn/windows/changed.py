"""Layers that look further than a few cells, and so see something else in a window than in the picture.

Global pooling, attention over the map, norms over the map and large pools give other values where the map is only a
part of the picture. They work, but weights that learned on whole pictures have to get used to it.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import nn

from finespot.nn import layers

POOLS, MEANS, ATTENTION, NORMS = "pools", "means over the map", "attention", "norms over the map"
KINDS: dict[type[nn.Module], str] = {
    layers.SPPF: POOLS,
    layers.ChannelAttention: MEANS,
    layers.ChannelGate: MEANS,
    layers.SqueezeExcitation: MEANS,
    layers.CoordinateAttention: MEANS,
    layers.PooledStripAttention: MEANS,
    layers.SimAM: MEANS,
    layers.OmniKernel: MEANS,
    layers.Attention: ATTENTION,
    layers.AreaAttention: ATTENTION,
    layers.SelfAttention: ATTENTION,
    layers.SparseAttention: ATTENTION,
    layers.StripAttention: ATTENTION,
    layers.GroupBlock: ATTENTION,
    layers.CellAttention: ATTENTION,
    nn.GroupNorm: NORMS,
}


def changed_layers(parts: Mapping[str, nn.Module]) -> dict[str, list[str]]:
    """The names of such layers in the parts of a network that run on windows, by what they do."""
    found: dict[str, list[str]] = {}
    for name, part in parts.items():
        for inner, module in part.named_modules():
            kind = KINDS.get(type(module))
            if kind is not None:
                found.setdefault(kind, []).append(f"{name}.{inner}" if inner else name)
    return found
