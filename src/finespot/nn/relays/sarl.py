"""Scale-aware relay (SARL): each level is reweighted, and fed, by the coarser one before the neck mixes them.

A reconstruction. "Scale-Aware Relay and Scale-Adaptive Loss for Tiny Object Detection" (arXiv 2511.09891) says where
the relay stands, that it has two kinds of blocks, FIM and FEM, and that semantics of a higher level reweight space and
channels of the next lower one, step by step; its figure of the layers is missing and there is no code. All layers and
numbers here are therefore ours:

    p3 ---> FIM ---> FEM --> p3        FIM, interaction, mixes two neighboring levels
             ^                         FEM, enhancement, works within one
             +--------<-------+
    p4 ---> FIM ---> FEM -----+-> p4   the finer level sees what the coarser one has become
             ^
             +--------<-------+
    p5 ------------> FEM -----+-> p5   the coarsest level has no higher neighbor

All branches are added with a factor for each channel, which is 0 at first: put into a trained network the relay
changes no prediction, and learns from there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from finespot.errors import FineSpotError
from finespot.nn.layers.channel_gate import ChannelGate
from finespot.nn.layers.conv import YOLO_NORM, Conv, Swish
from finespot.registry import register
from finespot.structures import Features, Level


@register("relay", "sarl")
class SARL(nn.Module):
    """`Features` of `levels` to `Features` of the same levels and sizes; sides need not be exact multiples.

    Parameters
    ----------
    levels:
        One or more, from fine to coarse.
    channel, spatial:
        The two gates of FIM; without both, the map itself stands in for the gated one.
    cross_scale:
        Gates from the coarser level. Without it they come from the level itself, on the coarsest one too, and `share`
        and `progressive` have nothing to work on.
    interaction, enhancement:
        FIM and FEM. Without both the relay is the identity and has no parameters.
    share:
        The coarser level is added too, not only its gates.
    progressive:
        The coarser level is taken as refined; otherwise as the backbone gave it.
    reduction, min_hidden:
        Hidden width of the channel gate: channels // reduction, but at least so many.
    spatial_kernel:
        Odd side of the spatial gate's kernel.
    gamma_init:
        What the factors start with. 0 keeps a trained network as it is, but lets the gates learn only from the second
        step on; 0.1 suits training from the start.

    Raises
    ------
    FineSpotError
        There is no level, two are less than a factor 2 apart, or a number is out of range.
    """

    def __init__(
        self,
        levels: Sequence[Level],
        channel: bool = True,
        spatial: bool = True,
        cross_scale: bool = True,
        interaction: bool = True,
        enhancement: bool = True,
        share: bool = True,
        progressive: bool = True,
        reduction: int = 16,
        min_hidden: int = 8,
        spatial_kernel: int = 7,
        gamma_init: float = 0.0,
    ) -> None:
        super().__init__()
        strides = [level.stride for level in levels]
        if not levels or any(coarse < 2 * fine for fine, coarse in pairwise(strides)):
            raise FineSpotError(
                f"expected each stride at least twice the one before it but got {strides}", where="relay 'sarl'"
            )
        for name, value in (("reduction", reduction), ("min_hidden", min_hidden)):
            if value < 1:
                raise FineSpotError(f"expected {name} of 1 or more but got {value}", where="relay 'sarl'")
        if spatial_kernel < 1 or spatial_kernel % 2 == 0:
            raise FineSpotError(f"expected an odd spatial_kernel but got {spatial_kernel}", where="relay 'sarl'")
        self.inputs = self.levels = tuple(levels)
        self.cross_scale, self.progressive = cross_scale, progressive
        self.interactions, self.enhancements = nn.ModuleDict(), nn.ModuleDict()
        higher: list[Level | None] = [*levels[1:], None] if cross_scale else [None] * len(levels)
        for level, above in zip(levels, higher):
            if interaction and (above is not None or not cross_scale):
                hidden = max(level.channels // reduction, min_hidden)
                self.interactions[level.name] = FIM(
                    level.channels,
                    above.channels if above is not None else None,
                    hidden=hidden if channel else 0,
                    kernel=spatial_kernel if spatial else 0,
                    share=share,
                    gamma_init=gamma_init,
                )
            if enhancement:
                self.enhancements[level.name] = FEM(level.channels, gamma_init)

    def forward(self, features: Features) -> Features:
        maps = list(features.maps)
        for i in reversed(range(len(maps))):
            name, x = self.levels[i].name, maps[i]
            if name in self.interactions:
                # From coarse to fine: what stands behind `i` is refined already.
                above = (maps if self.progressive else features.maps)[i + 1] if self.cross_scale else None
                x = self.interactions[name](x, above)
            maps[i] = self.enhancements[name](x) if name in self.enhancements else x
        return replace(features, maps=maps, levels=self.levels)


class FIM(nn.Module):
    """Interaction of a map X (B, C, H, W) with the next coarser one (B, C', h, w), or with itself (C' None).

    S is the coarser map brought to C channels and to the size of X. Z = X + g1 * (X * a_c * a_s) + g2 * S, with a
    channel gate a_c of the mean and the maximum of S over all places, by one MLP of `hidden` channels (0: no gate), and
    a spatial gate a_s of the means and maxima of S and X over all channels, by one convolution of side `kernel` (0: no
    gate). Without a coarser map S is X and there is no g2.
    """

    no_decay = ("gated_gain", "shared_gain")

    def __init__(
        self, channels: int, above: int | None, *, hidden: int, kernel: int, share: bool, gamma_init: float
    ) -> None:
        super().__init__()
        self.project = None if above is None else Conv(above, channels)
        self.channel_gate = ChannelGate(channels, hidden, bias=True) if hidden else None
        self.spatial_gate = nn.Conv2d(4, 1, kernel, padding=kernel // 2) if kernel else None
        self.gated_gain = _gain(channels, gamma_init)
        self.shared_gain = _gain(channels, gamma_init) if share and above is not None else None

    def forward(self, x: Tensor, above: Tensor | None) -> Tensor:
        semantic = x
        if self.project is not None:
            # Projected before it is enlarged, which gives the same; to a size, as a factor is wrong for odd sides.
            semantic = F.interpolate(self.project(above), size=x.shape[2:], mode="nearest")
        gated = x
        if self.channel_gate is not None:
            gated = gated * self.channel_gate(semantic)
        if self.spatial_gate is not None:
            seen = [part for one in (semantic, x) for part in (one.mean(1, keepdim=True), one.amax(1, keepdim=True))]
            gated = gated * torch.sigmoid(self.spatial_gate(torch.cat(seen, 1)))
        mixed = x + self.gated_gain * gated
        return mixed if self.shared_gain is None else mixed + self.shared_gain * semantic


class FEM(nn.Module):
    """Enhancement of one map (B, C, H, W): added is what two depth-wise 3x3, one of them dilated, and a 1x1 make of it.

    `fuse` makes one 5x5 of the two.
    """

    no_decay = ("gain",)

    def __init__(self, channels: int, gamma_init: float) -> None:
        super().__init__()
        self.near = nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False)
        self.wide: nn.Conv2d | None = nn.Conv2d(
            channels, channels, 3, padding=2, dilation=2, groups=channels, bias=False
        )
        self.bn: nn.Module = nn.BatchNorm2d(channels, eps=YOLO_NORM.eps, momentum=YOLO_NORM.momentum)
        self.act = Swish()
        self.mix = Conv(channels, channels, activation=None)
        self.gain = _gain(channels, gamma_init)

    def forward(self, x: Tensor) -> Tensor:
        local = self.near(x) if self.wide is None else self.near(x) + self.wide(x)
        return x + self.gain * cast(Tensor, self.mix(self.act(self.bn(local))))

    @torch.no_grad()
    def fuse(self) -> None:
        """Join both depth-wise convolutions and their norm, in place, for inference. A second call does nothing."""
        if self.wide is None:
            return
        channels = self.near.out_channels
        weight = F.pad(self.near.weight, (1, 1, 1, 1))
        weight[:, :, ::2, ::2] += self.wide.weight
        joined = Conv(channels, channels, 5, groups=channels, activation=None).to(weight)
        joined.conv.weight.copy_(weight)
        joined.bn = self.bn
        joined.fuse()
        self.near, self.wide, self.bn = joined.conv, None, nn.Identity()


def _gain(channels: int, value: float) -> nn.Parameter:
    """A factor for each channel."""
    return nn.Parameter(torch.full((1, channels, 1, 1), float(value)))
