"""The neck of LRS-DETR: its steps in the order of its table, levels, and what it refuses."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from finespot.errors import FineSpotError
from finespot.nn.necks import SEFP
from finespot.structures import Features, Level

LEVELS = (Level(6, 4), Level(10, 8), Level(12, 16), Level(14, 32))
WIDTH = 16


def neck(inputs: tuple[Level, ...] = LEVELS, **options) -> SEFP:
    torch.manual_seed(0)
    made = SEFP(inputs, WIDTH, 20, **options)
    nn.init.normal_(made.enhance.mix.kernel.gate.alpha)
    return made.eval()


def features(inputs: tuple[Level, ...] = LEVELS, size: tuple[int, int] = (64, 96)) -> Features:
    draw = torch.Generator().manual_seed(1)
    shapes = [(2, level.channels, size[0] // level.stride, size[1] // level.stride) for level in inputs]
    return Features([torch.randn(shape, generator=draw) for shape in shapes], inputs)


def double(x: Tensor) -> Tensor:
    return x.repeat_interleave(2, 2).repeat_interleave(2, 3)


@pytest.mark.parametrize("finest", [False, True])
def test_steps_in_the_order_of_the_table(finest: bool) -> None:
    m, given = neck(finest=finest), features()
    c2, c3, c4, c5 = given.maps
    with torch.no_grad():
        y5 = m.top_down["p4"].lateral(m.attention(m.project["p5"](c5)))
        p4 = m.top_down["p4"].block(torch.cat((double(y5), m.project["p4"](c4)), 1))
        y4 = m.enhance.lateral(p4)
        p3 = m.enhance.block(m.enhance.mix(torch.cat((m.enhance.down(c2), double(y4), c3), 1)))
        want = [p3]
        if finest:
            y3 = m.finest.lateral(p3)
            p2 = m.finest.block(torch.cat((double(y3), c2), 1))
            p3 = m.bottom_up["p3"].block(torch.cat((m.bottom_up["p3"].down(p2), y3), 1))
            want = [p2, p3]
        n4 = m.bottom_up["p4"].block(torch.cat((m.bottom_up["p4"].down(p3), y4), 1))
        n5 = m.bottom_up["p5"].block(torch.cat((m.bottom_up["p5"].down(n4), y5), 1))
        want += [n4, n5]
        found = m(given)
    assert found.levels == m.levels == tuple(Level(WIDTH, level.stride) for level in LEVELS[0 if finest else 1 :])
    assert len(found.maps) == len(want)
    assert all(torch.allclose(one, other, atol=1e-6) for one, other in zip(found.maps, want))


def test_three_levels() -> None:
    inputs = LEVELS[:3]
    m = neck(inputs, finest=True)
    with torch.no_grad():
        found = m(features(inputs))
    assert [tuple(x.shape) for x in found.maps] == [(2, WIDTH, 16, 24), (2, WIDTH, 8, 12), (2, WIDTH, 4, 6)]


def test_levels_that_do_not_fit_are_refused() -> None:
    with pytest.raises(FineSpotError, match="sefp neck: expected three levels or more but got 2"):
        SEFP(LEVELS[:2])
    with pytest.raises(FineSpotError, match="sefp neck: expected one width per level and each stride twice"):
        SEFP((LEVELS[0], LEVELS[2], LEVELS[3]))


@pytest.mark.slow
def test_the_form_of_the_transform_changes_no_value() -> None:
    with torch.no_grad():
        one, other = (neck(spectrum=form)(features()).maps for form in ("fft", "matrix"))
        same = [F.mse_loss(a, b) for a, b in zip(one, other)]
    assert all(0 <= float(error) < 1e-9 for error in same)
    assert any(not torch.equal(a, b) for a, b in zip(one, other))


@pytest.mark.slow
def test_graph_of_the_neck_has_no_complex_numbers() -> None:
    class Maps(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.neck = neck()

        def forward(self, maps: list[Tensor]) -> list[Tensor]:
            return self.neck(Features(maps, LEVELS)).maps

    module, maps = Maps().eval(), features(size=(96, 160)).maps
    program = torch.export.export(module, (maps,))
    targets = [str(node.target) for node in program.graph.nodes]
    assert not [name for name in targets if "fft" in name or "complex" in name]
    with torch.no_grad():
        for one, other in zip(program.module()(maps), module(maps)):
            assert torch.allclose(one, other, rtol=0, atol=1e-4)
