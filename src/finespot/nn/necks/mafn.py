"""Path aggregation neck with attention at chosen places: on the way down, or on what the neck gives.

After the "multi-attention fusion neck" of YOLO-SOD (2025). Without any attention it is a third form of the neck beside
`pafpn` and `lateral_pafpn`: a 1x1 convolution gives each map the width of the next finer one before it is doubled, and
on the way up the halved map takes the width of the coarser one, which it joins as it was before narrowing. Works on any
number of levels; a P2 level is one more step each way.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

from torch import Tensor, nn

from finespot.errors import unknown
from finespot.nn.layers.conv import Conv
from finespot.nn.necks.pafpn import Block, BottomUpStep, TopDownStep, check_steps
from finespot.registry import register
from finespot.structures import Features, Level

# Makes a layer that keeps the shape of a map of so many channels.
MakeAttention = Callable[[int], nn.Module]
_NOWHERE: Mapping[str, MakeAttention] = MappingProxyType({})


@register("neck", "mafn")
class MAFN(nn.Module):
    """`Features` of `inputs` to `Features` of the same strides with `widths` channels (fine to coarse).

    `block(c_in, c_out)` makes the block behind each join. The steps that make the level of stride 16 are
    `narrow.p4`, `top_down.p4` and `bottom_up.p4`.

    Parameters
    ----------
    top_down:
        Attention on the maps of the way down, by name of the level: both ways go on with what it gives.
    outputs:
        Attention on the maps that the neck gives, by name of the level; the way up goes on with what it gives.

    Raises
    ------
    FineSpotError
        Strides do not double, widths are too few or many, or there is no such map to attend to.
    """

    def __init__(
        self,
        inputs: Sequence[Level],
        widths: Sequence[int],
        block: Block,
        top_down: Mapping[str, MakeAttention] = _NOWHERE,
        outputs: Mapping[str, MakeAttention] = _NOWHERE,
    ) -> None:
        super().__init__()
        check_steps("mafn", inputs, widths)
        self.inputs = tuple(inputs)
        self.levels = tuple(Level(width, level.stride) for width, level in zip(widths, inputs))
        names = [level.name for level in inputs]
        self.narrow, self.top_down, self.bottom_up = nn.ModuleDict(), nn.ModuleDict(), nn.ModuleDict()
        below = inputs[-1].channels
        for level, width in reversed(list(zip(inputs, widths))[:-1]):
            self.narrow[level.name] = Conv(below, width)
            self.top_down[level.name] = TopDownStep(width, level.channels, width, block)
            below = width
        for i in range(1, len(inputs)):
            beside = inputs[i].channels if i == len(inputs) - 1 else widths[i]
            finer = widths[i - 1]
            self.bottom_up[names[i]] = BottomUpStep(widths[i], beside, widths[i], block, _halving(finer))
        by_name = dict(zip(names, widths))
        self.top_down_attention = _attention(top_down, {name: by_name[name] for name in names[:-1]})
        self.output_attention = _attention(outputs, by_name)

    def forward(self, features: Features) -> Features:
        names = [level.name for level in self.inputs]
        maps = dict(zip(names, features.maps, strict=True))
        coarser = maps[names[-1]]
        for name in reversed(names[:-1]):
            coarser = self.top_down[name](self.narrow[name](coarser), maps[name])
            maps[name] = coarser = _attended(self.top_down_attention, name, coarser)
        finer = _attended(self.output_attention, names[0], coarser)
        given = [finer]
        for name in names[1:]:
            finer = _attended(self.output_attention, name, self.bottom_up[name](finer, maps[name]))
            given.append(finer)
        return replace(features, maps=given, levels=self.levels)


def _halving(c_in: int) -> Block:
    return lambda _, c_out: Conv(c_in, c_out, 3, 2)


def _attention(wanted: Mapping[str, MakeAttention], widths: Mapping[str, int]) -> nn.ModuleDict:
    for name in wanted:
        if name not in widths:
            raise unknown("map of the mafn neck to attend to", name, widths)
    return nn.ModuleDict({name: make(widths[name]) for name, make in wanted.items()})


def _attended(attention: nn.ModuleDict, name: str, x: Tensor) -> Tensor:
    return attention[name](x) if name in attention else x
