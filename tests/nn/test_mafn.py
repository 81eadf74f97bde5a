"""The neck of YOLO-SOD: its way down and up step by step, attention at places by name, errors."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from finespot.errors import FineSpotError
from finespot.nn.layers import C2f
from finespot.nn.necks import MAFN
from finespot.structures import Features, Level

LEVELS, WIDTHS = (Level(4, 4), Level(8, 8), Level(16, 16), Level(24, 32)), (6, 8, 10, 12)


class Times(nn.Module):
    """Attention that tells where it was."""

    def __init__(self, factor: float, channels: int) -> None:
        super().__init__()
        self.factor, self.channels = factor, channels

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        assert x.shape[1] == self.channels
        return x * self.factor


def times(factor: float):
    return lambda channels: Times(factor, channels)


def features() -> Features:
    draw = torch.Generator().manual_seed(0)
    return Features(
        [torch.randn(2, lv.channels, 64 // lv.stride, 96 // lv.stride, generator=draw) for lv in LEVELS], LEVELS
    )


@torch.no_grad()
def test_every_step_and_every_place() -> None:
    torch.manual_seed(0)
    down, out = {"p4": 2.0, "p3": 3.0}, {"p2": 5.0, "p3": 7.0, "p5": 11.0}
    neck = MAFN(
        LEVELS,
        WIDTHS,
        C2f,
        {name: times(factor) for name, factor in down.items()},
        {name: times(factor) for name, factor in out.items()},
    ).eval()
    c2, c3, c4, c5 = features().maps

    def up(x: torch.Tensor, name: str, fine: torch.Tensor) -> torch.Tensor:
        narrow = F.interpolate(neck.narrow[name](x), scale_factor=2)
        return neck.top_down[name].block(torch.cat((narrow, fine), 1)) * down.get(name, 1.0)

    def on(x: torch.Tensor, name: str, coarse: torch.Tensor) -> torch.Tensor:
        return neck.bottom_up[name].block(torch.cat((neck.bottom_up[name].down(x), coarse), 1)) * out.get(name, 1.0)

    t4 = up(c5, "p4", c4)
    t3 = up(t4, "p3", c3)
    p2 = up(t3, "p2", c2) * out["p2"]
    p3 = on(p2, "p3", t3)
    p4 = on(p3, "p4", t4)
    p5 = on(p4, "p5", c5)
    made = neck(features())
    assert made.levels == neck.levels == tuple(Level(width, lv.stride) for width, lv in zip(WIDTHS, LEVELS))
    assert all(torch.equal(ours, want) for ours, want in zip(made.maps, (p2, p3, p4, p5), strict=True))


@torch.no_grad()
def test_the_finest_level_ends_the_way_down() -> None:
    torch.manual_seed(0)
    plain = MAFN(LEVELS[1:], WIDTHS[1:], C2f).eval()
    weighed = MAFN(LEVELS[1:], WIDTHS[1:], C2f, {"p3": times(2.0)}, {"p3": times(3.0)}).eval()
    weighed.load_state_dict(plain.state_dict())
    given = features()
    given = Features(given.maps[1:], LEVELS[1:])
    assert torch.equal(weighed(given).maps[0], 6 * plain(given).maps[0])


def test_places_and_widths_are_checked() -> None:
    with pytest.raises(FineSpotError, match="unknown map of the mafn neck to attend to 'p5'"):
        MAFN(LEVELS, WIDTHS, C2f, top_down={"p5": times(1.0)})
    with pytest.raises(FineSpotError, match="unknown map of the mafn neck to attend to 'p6'"):
        MAFN(LEVELS, WIDTHS, C2f, outputs={"p6": times(1.0)})
    with pytest.raises(FineSpotError, match="one width per level"):
        MAFN(LEVELS, WIDTHS[1:], C2f)
