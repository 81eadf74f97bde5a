"""The neck that narrows maps on the way down and joins them on the way up."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from finespot.errors import FineSpotError
from finespot.nn.layers import TORCH_NORM, Conv, separable
from finespot.nn.necks import LateralPAFPN
from finespot.registry import make
from finespot.structures import Features, Level

LEVELS = (Level(6, 4), Level(8, 8), Level(16, 16), Level(24, 32))


def features(levels: tuple[Level, ...], size: tuple[int, int] = (64, 96)) -> Features:
    draw = torch.Generator().manual_seed(0)
    maps = [torch.randn(2, x.channels, size[0] // x.stride, size[1] // x.stride, generator=draw) for x in levels]
    return Features(maps, levels)


@pytest.mark.parametrize("levels", [LEVELS[1:], LEVELS, LEVELS[1:3]])
@pytest.mark.parametrize("out_width", [None, 10])
def test_levels_and_shapes(levels: tuple[Level, ...], out_width: int | None) -> None:
    widths = [2 * level.channels for level in levels]
    neck = make("neck", "lateral_pafpn", inputs=levels, widths=widths, block=Conv, out_width=out_width)
    given = features(levels)
    mixed = neck(given)
    assert mixed.levels == neck.levels == tuple(Level(out_width or w, x.stride) for w, x in zip(widths, levels))
    for level, x, before in zip(mixed.levels, mixed.maps, given.maps):
        assert x.shape == (2, level.channels, *before.shape[2:])


def test_the_way_up_joins_the_narrowed_maps() -> None:
    """The wiring, written out for three levels."""
    levels = LEVELS[1:]
    neck = LateralPAFPN(levels, (8, 16, 24), Conv, out_width=5).eval()
    fine, middle, coarse = features(levels).maps
    narrow5 = neck.lateral["p5"](coarse)
    p4 = neck.top_down["p4"].block(torch.cat((nn.functional.interpolate(narrow5, scale_factor=2), middle), 1))
    narrow4 = neck.lateral["p4"](p4)
    p3 = neck.top_down["p3"].block(torch.cat((nn.functional.interpolate(narrow4, scale_factor=2), fine), 1))
    n4 = neck.bottom_up["p4"].block(torch.cat((neck.bottom_up["p4"].down(p3), narrow4), 1))
    n5 = neck.bottom_up["p5"].block(torch.cat((neck.bottom_up["p5"].down(n4), narrow5), 1))
    want = [neck.out[name](x) for name, x in zip(("p3", "p4", "p5"), (p3, n4, n5))]
    assert all(torch.equal(a, b) for a, b in zip(neck(features(levels)).maps, want))


def test_down_and_norm_are_chosen() -> None:
    def down(c_in: int, c_out: int) -> nn.Module:
        return separable(c_in, c_out, 3, 2)

    levels = LEVELS[1:]
    narrow = LateralPAFPN(levels, (8, 16, 24), Conv, down)
    assert narrow.bottom_up["p4"].down.spatial.conv.groups == 8
    assert narrow(features(levels)).maps[2].shape == (2, 24, 2, 3)
    own = LateralPAFPN(levels, (8, 16, 24), lambda a, b: nn.Conv2d(a, b, 1), out_width=4, norm=TORCH_NORM)
    assert {m.eps for m in own.modules() if isinstance(m, nn.BatchNorm2d)} == {TORCH_NORM.eps}


def test_levels_that_do_not_halve_are_refused() -> None:
    with pytest.raises(FineSpotError, match="each stride twice the one before it"):
        LateralPAFPN((Level(8, 8), Level(8, 32)), (8, 8), Conv)
    with pytest.raises(FineSpotError, match="one width per level"):
        LateralPAFPN(LEVELS, (8, 8), Conv)
