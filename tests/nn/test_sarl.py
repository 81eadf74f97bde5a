"""The relay SARL: its layers against a slow twin, parameter counts, switches, identity at the start, export."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from finespot import registry
from finespot.errors import FineSpotError
from finespot.nn.relays import SARL
from finespot.structures import Features, Level
from finespot.training.optimizer import NORM, parameter_groups

SWITCHES = ("channel", "spatial", "cross_scale", "interaction", "enhancement", "share", "progressive")
WIDTHS = (128, 256, 512)
SMALL = (8, 12, 20)
ODD = ((19, 25), (10, 13), (5, 7))


def levels(*widths: int, finest: int = 8) -> tuple[Level, ...]:
    return tuple(Level(width, finest * 2**i) for i, width in enumerate(widths))


def count(*widths: int, **options: Any) -> int:
    with torch.device("meta"):
        return sum(p.numel() for p in SARL(levels(*widths), **options).parameters())


def features(widths: tuple[int, ...] = SMALL, sizes: tuple[tuple[int, int], ...] = ODD) -> Features:
    draw = torch.Generator().manual_seed(1)
    maps = [torch.randn(2, c, *size, generator=draw) for c, size in zip(widths, sizes)]
    return Features(maps, levels(*widths), auxiliary={"kept": torch.ones(1)})


def made(*widths: int, **options: Any) -> SARL:
    """A relay in eval mode with factors, norms and statistics that all differ."""
    relay = SARL(levels(*(widths or SMALL)), **options)
    draw = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for p in relay.parameters():
            p.copy_(torch.randn(p.shape, generator=draw) * 0.5)
        for name, statistic in relay.named_buffers():
            if name.endswith(("running_mean", "running_var")):
                statistic.copy_(torch.rand(statistic.shape, generator=draw) + 0.5)
    return relay.eval()


def norm(p: dict[str, Tensor], key: str, x: Tensor) -> Tensor:
    mean, var, weight, bias = (
        p[f"{key}.{part}"][:, None, None] for part in ("running_mean", "running_var", "weight", "bias")
    )
    return (x - mean) / (var + 1e-3).sqrt() * weight + bias


def silu(x: Tensor) -> Tensor:
    return x / (1 + (-x).exp())


def pointwise(p: dict[str, Tensor], key: str, x: Tensor) -> Tensor:
    return torch.einsum("oc,chw->ohw", p[f"{key}.weight"][:, :, 0, 0], x)


def depthwise(x: Tensor, weight: Tensor, step: int) -> Tensor:
    padded, out = F.pad(x, (step, step, step, step)), torch.zeros_like(x)
    for i in range(3):
        for j in range(3):
            shifted = padded[:, i * step : i * step + x.shape[1], j * step : j * step + x.shape[2]]
            out = out + weight[:, 0, i, j, None, None] * shifted
    return out


def slow_fim(p: dict[str, Tensor], key: str, x: Tensor, high: Tensor | None, off: Collection[str]) -> Tensor:
    s = m = x
    if high is not None:
        projected = silu(norm(p, f"{key}.project.bn", pointwise(p, f"{key}.project.conv", high)))
        rows = [i * high.shape[1] // x.shape[1] for i in range(x.shape[1])]
        columns = [j * high.shape[2] // x.shape[2] for j in range(x.shape[2])]
        s = projected[:, rows][:, :, columns]
    if "channel" not in off:
        first, second = (f"{key}.channel_gate.{part}" for part in ("squeeze", "excite"))
        total = torch.zeros(len(x))
        for pooled in (s.flatten(1).mean(1), s.flatten(1).max(1).values):
            hidden = (p[f"{first}.weight"][:, :, 0, 0] @ pooled + p[f"{first}.bias"]).clamp(min=0)
            total = total + p[f"{second}.weight"][:, :, 0, 0] @ hidden + p[f"{second}.bias"]
        m = m * torch.sigmoid(total)[:, None, None]
    if "spatial" not in off:
        seen = torch.stack((s.mean(0), s.max(0).values, x.mean(0), x.max(0).values))
        weight = p[f"{key}.spatial_gate.weight"]
        gate = F.conv2d(seen[None], weight, p[f"{key}.spatial_gate.bias"], padding=weight.shape[-1] // 2)[0]
        m = m * torch.sigmoid(gate)
    z = x + p[f"{key}.gated_gain"][0] * m
    return z if "share" in off or high is None else z + p[f"{key}.shared_gain"][0] * s


def slow_fem(p: dict[str, Tensor], key: str, z: Tensor) -> Tensor:
    summed = depthwise(z, p[f"{key}.near.weight"], 1) + depthwise(z, p[f"{key}.wide.weight"], 2)
    e = pointwise(p, f"{key}.mix.conv", silu(norm(p, f"{key}.bn", summed)))
    return z + p[f"{key}.gain"][0] * norm(p, f"{key}.mix.bn", e)


def slow(relay: SARL, maps: list[Tensor], off: Collection[str] = ()) -> list[Tensor]:
    """The formulas, step by step, for one picture at a time; `off` names the switches that are off."""
    p = dict(relay.named_parameters()) | dict(relay.named_buffers())
    out: list[list[Tensor]] = [[] for _ in maps]
    for picture in range(len(maps[0])):
        refined: Tensor | None = None
        for i in reversed(range(len(maps))):
            name, z = f"p{3 + i}", maps[i][picture]
            above = refined
            if "progressive" in off:
                above = maps[i + 1][picture] if i + 1 < len(maps) else None
            if "cross_scale" in off:
                above = None
            if "interaction" not in off and (above is not None or "cross_scale" in off):
                z = slow_fim(p, f"interactions.{name}", z, above, off)
            refined = z if "enhancement" in off else slow_fem(p, f"enhancements.{name}", z)
            out[i].append(refined)
    return [torch.stack(one) for one in out]


@pytest.mark.parametrize(
    ("widths", "parameters"),
    [
        ((64, 128, 256), 141_722),
        ((128, 256, 512), 541_090),
        ((64, 128, 256, 512), 556_399),
        ((192, 384, 768), 1_200_046),
        ((256, 512, 1024), 2_118_074),
        ((256, 512, 1024, 2048), 8_593_087),
    ],
)
def test_parameters(widths: tuple[int, ...], parameters: int) -> None:
    assert count(*widths) == parameters

    def fim(c: int, high: int) -> int:
        hidden = max(c // 16, 8)
        return c * high + 2 * c + c * hidden + hidden + hidden * c + c + 4 * 49 + 1 + 2 * c

    def fem(c: int) -> int:
        return 9 * c + 9 * c + 2 * c + c * c + 2 * c + c

    assert sum(map(fem, widths)) + sum(map(fim, widths, widths[1:])) == parameters


@pytest.mark.parametrize(
    ("option", "parameters"),
    [
        ({"channel": False}, 530_442),
        ({"spatial": False}, 540_696),
        ({"cross_scale": False}, 410_119),
        ({"share": False}, 540_706),
        ({"interaction": False}, 364_672),
        ({"enhancement": False}, 176_418),
        ({"interaction": False, "enhancement": False}, 0),
        ({"progressive": False}, 541_090),
        ({"reduction": 8}, 541_090 + 2 * 128 * 8 + 8 + 2 * 256 * 16 + 16),
        ({"min_hidden": 16}, 541_090 + 2 * 128 * 8 + 8),
        ({"spatial_kernel": 3}, 541_090 - 2 * 4 * (49 - 9)),
    ],
)
def test_parameters_of_the_switches(option: dict[str, Any], parameters: int) -> None:
    assert count(*WIDTHS, **option) == parameters


@pytest.mark.parametrize(
    "off", [(), *((name,) for name in SWITCHES), ("channel", "spatial"), SWITCHES[:2] + SWITCHES[5:]]
)
def test_what_it_computes(off: tuple[str, ...]) -> None:
    """By loops, at sizes that are no exact multiples."""
    relay, given = made(**dict.fromkeys(off, False)), features()
    with torch.no_grad():
        found = relay(given)
        for one, wanted in zip(found.maps, slow(relay, given.maps, off), strict=True):
            assert one.shape == wanted.shape
            assert torch.allclose(one, wanted, atol=1e-5, rtol=1e-5)
    assert found.levels == relay.levels == relay.inputs == given.levels
    assert found.auxiliary == given.auxiliary


@pytest.mark.parametrize("widths", [(8,), (8, 12), (4, 8, 12, 20, 24)])
def test_any_number_of_levels(widths: tuple[int, ...]) -> None:
    sizes = tuple((-(-37 // 2**i), -(-50 // 2**i)) for i in range(len(widths)))
    relay, given = made(*widths), features(widths, sizes)
    with torch.no_grad():
        found = relay(given).maps
    assert [x.shape for x in found] == [x.shape for x in given.maps]
    assert torch.allclose(found[0], slow(relay, given.maps)[0], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("train", [False, True])
def test_it_starts_as_the_identity(train: bool) -> None:
    relay, given = SARL(levels(*SMALL)).train(train), features()
    assert all(torch.equal(one, x) for one, x in zip(relay(given).maps, given.maps))
    changed = SARL(levels(*SMALL), gamma_init=0.1).train(train)(given)
    assert not any(torch.equal(one, x) for one, x in zip(changed.maps, given.maps))


def test_without_blocks_it_is_the_identity() -> None:
    relay, given = SARL(levels(*SMALL), interaction=False, enhancement=False, gamma_init=1.0), features()
    assert all(one is x for one, x in zip(relay(given).maps, given.maps))


def test_only_factors_learn_in_the_first_step_and_all_after_it() -> None:
    torch.manual_seed(0)
    relay, given = SARL(levels(*SMALL)).train(), features()
    for step in range(2):
        relay.zero_grad()
        torch.stack([x.square().sum() for x in relay(given).maps]).sum().backward()
        moved = {name for name, p in relay.named_parameters() if p.grad.any()}
        factors = {name for name, _ in relay.named_parameters() if name.endswith("gain")}
        assert moved == (factors if step == 0 else {name for name, _ in relay.named_parameters()})
        with torch.no_grad():
            for p in relay.parameters():
                p -= 1e-3 * p.grad


def test_factors_do_not_decay() -> None:
    relay = SARL(levels(*SMALL))
    group = {id(p) for p in parameter_groups(relay)[NORM]}
    factors = [p for name, p in relay.named_parameters() if name.endswith("gain")]
    assert len(factors) == 2 * 2 + 3
    assert all(id(p) in group for p in factors)
    assert not any(id(p) in group for p in relay.parameters() if p.ndim == 4 and p.shape[0] > 1)


def test_fused_for_inference() -> None:
    relay, given = made(), features()
    with torch.no_grad():
        wanted = relay(given).maps
        for _ in range(2):
            for module in list(relay.modules()):
                if callable(fuse := getattr(module, "fuse", None)):
                    fuse()
        found = relay(given).maps
    assert not any(isinstance(module, nn.BatchNorm2d) for module in relay.modules())
    assert all(torch.allclose(one, other, atol=1e-4, rtol=1e-4) for one, other in zip(found, wanted))


def test_half_precision() -> None:
    """Means over large maps are summed in more than half precision."""
    relay = made(8, 12).bfloat16()
    given = Features([x.bfloat16() for x in features((8, 12), ((160, 160), (80, 80))).maps], levels(8, 12))
    with torch.no_grad():
        found = relay(given).maps
        wanted = relay.float()(replace(given, maps=[x.float() for x in given.maps])).maps
    assert {x.dtype for x in found} == {torch.bfloat16}
    for one, other in zip(found, wanted):
        assert (one.float() - other).norm() / other.norm() < 0.02


@pytest.mark.slow
def test_export() -> None:
    """At odd sizes, as a program that other runtimes can read."""

    class Whole(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.relay = made()

        def forward(self, *maps: Tensor) -> list[Tensor]:
            return self.relay(Features(list(maps), self.relay.levels)).maps  # type: ignore[no-any-return]

    whole, given = Whole().eval(), features()
    with torch.no_grad():
        program = torch.export.export(whole, tuple(given.maps))
        for one, wanted in zip(program.module()(*given.maps), whole(*given.maps)):
            assert torch.allclose(one, wanted, atol=1e-5)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sarl(reduction=0)", "relay 'sarl': expected reduction of 1 or more but got 0"),
        ("sarl(min_hidden=0)", "expected min_hidden of 1 or more but got 0"),
        ("sarl(spatial_kernel=4)", "expected an odd spatial_kernel but got 4"),
        ("sarl(channel=3)", "expected channel to be true or false but got '3'"),
        ("sarl(gate=3)", "unknown option of the relay 'sarl' 'gate'"),
    ],
)
def test_errors(text: str, message: str) -> None:
    with pytest.raises(FineSpotError, match=message):
        registry.make("relay", text, levels=levels(*SMALL))


def test_levels_are_checked() -> None:
    for given in ((), (Level(8, 16), Level(8, 8)), (Level(8, 8), Level(8, 12))):
        with pytest.raises(FineSpotError, match="expected each stride at least twice the one before it"):
            SARL(given)
