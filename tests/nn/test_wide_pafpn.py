"""The PAFPN with other widths on the way down: who is joined to whom, and by what."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from finespot.errors import FineSpotError
from finespot.nn.layers import Conv
from finespot.nn.necks import PAFPN, WidePAFPN
from finespot.structures import Features, Level

LEVELS = (Level(4, 4), Level(6, 8), Level(6, 16), Level(8, 32))
WIDTHS, INNER = (2, 8, 8, 10), (2, 4, 8)


def features() -> Features:
    draw = torch.Generator().manual_seed(0)
    return Features(
        [torch.randn(1, x.channels, 64 // x.stride, 96 // x.stride, generator=draw) for x in LEVELS], LEVELS
    )


def test_widths_and_blocks() -> None:
    made: list[tuple[str, int, int]] = []

    def makes(name: str, stride: int = 1):
        def make(c_in: int, c_out: int) -> nn.Module:
            made.append((name, c_in, c_out))
            return Conv(c_in, c_out, 3, stride)

        return make

    neck = WidePAFPN(LEVELS, WIDTHS, makes("block"), INNER, makes("first"), makes("last"), makes("down", 2)).eval()
    assert made == [
        ("block", 14, 8),
        ("block", 14, 4),
        ("first", 8, 2),
        ("down", 2, 4),
        ("block", 8, 8),
        ("down", 8, 8),
        ("block", 16, 8),
        ("down", 8, 8),
        ("last", 16, 10),
    ]
    with torch.no_grad():
        given = features()
        p2, p3, p4, p5 = given.maps
        down4 = neck.top_down["p4"].block(torch.cat((p5.repeat_interleave(2, 2).repeat_interleave(2, 3), p4), 1))
        down3 = neck.top_down["p3"].block(torch.cat((down4.repeat_interleave(2, 2).repeat_interleave(2, 3), p3), 1))
        out2 = neck.top_down["p2"].block(torch.cat((down3.repeat_interleave(2, 2).repeat_interleave(2, 3), p2), 1))
        up = neck.bottom_up
        out3 = up["p3"].block(torch.cat((up["p3"].down(out2), down3), 1))
        out4 = up["p4"].block(torch.cat((up["p4"].down(out3), down4), 1))
        out5 = up["p5"].block(torch.cat((up["p5"].down(out4), p5), 1))
        found = neck(given)
    assert found.levels == tuple(Level(width, level.stride) for width, level in zip(WIDTHS, LEVELS))
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(found.maps, (out2, out3, out4, out5), strict=True))


def test_what_is_left_out_is_as_elsewhere() -> None:
    neck = WidePAFPN(LEVELS, WIDTHS, lambda c_in, c_out: Conv(c_in, c_out))
    assert neck.top_down["p3"].block.conv.out_channels == 8
    assert neck.bottom_up["p5"].down.conv.kernel_size == (3, 3)
    assert neck.bottom_up["p5"].block.conv.kernel_size == (1, 1)


def test_inner_widths_fit() -> None:
    for inner in ((2, 4), (3, 4, 8)):
        with pytest.raises(FineSpotError, match="wide_pafpn neck: expected 3 inner widths, the first of them 2"):
            WidePAFPN(LEVELS, WIDTHS, Conv, inner)


def test_pafpn_takes_what_halves() -> None:
    neck = PAFPN(LEVELS, WIDTHS, Conv, down=lambda c_in, c_out: nn.AvgPool2d(2))
    assert isinstance(neck.bottom_up["p3"].down, nn.AvgPool2d)
    assert [x.shape[1] for x in neck.eval()(features()).maps] == list(WIDTHS)
