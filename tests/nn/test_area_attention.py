"""Area attention: its formula area by area, its blocks, fused twins, errors."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from finespot.errors import FineSpotError
from finespot.nn.layers import A2C2f, AreaAttention, AreaBlock, C3k


def moved(module: nn.Module) -> nn.Module:
    """Batch norms as after some training."""
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            nn.init.uniform_(part.weight, 0.5, 1.5)
            nn.init.uniform_(part.bias, -0.3, 0.3)
            nn.init.uniform_(part.running_mean, -0.3, 0.3)
            nn.init.uniform_(part.running_var, 0.3, 2)
    return module.eval()


@pytest.mark.parametrize("areas", [1, 2, 4])
def test_attention_stays_inside_an_area(areas: int) -> None:
    torch.manual_seed(0)
    layer = moved(AreaAttention(64, areas))
    nn.init.normal_(layer.entry.branches[0].conv.weight, std=0.5)
    x = torch.randn(2, 64, 6, 10)
    with torch.no_grad():
        query, key, value = (part.flatten(2) for part in layer.entry(x))
        mixed = torch.empty_like(value)
        run = 60 // areas
        for b in range(2):
            for h in (slice(0, 32), slice(32, 64)):
                for start in range(0, 60, run):
                    part = slice(start, start + run)
                    weight = torch.softmax(query[b, h, part].T @ key[b, h, part] * 32**-0.5, 1)
                    mixed[b, h, part] = value[b, h, part] @ weight.T
        want = layer.project(mixed.view(2, 64, 6, 10) + layer.position(value.view(2, 64, 6, 10)))
        assert torch.allclose(layer(x), want, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("size", [(3, 5), (1, 1), (2, 3), (20, 20)])
def test_areas_need_not_divide_the_map(size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    layer, cells = moved(AreaAttention(32, 8)), size[0] * size[1]
    x = torch.randn(2, 32, *size)
    query, key, value = (part.flatten(2) for part in layer.entry(x))
    mixed = torch.empty_like(value)
    length = (cells + 7) // 8
    for b in range(2):
        for start in range(0, cells, length):
            part = slice(start, start + length)
            mixed[b, :, part] = value[b, :, part] @ torch.softmax(query[b, :, part].T @ key[b, :, part] * 32**-0.5, 1).T
    want = layer.project(mixed.view(2, 32, *size) + layer.position(value.view(2, 32, *size)))
    assert torch.allclose(layer(x), want, atol=1e-5)


def test_the_number_of_areas_takes_effect() -> None:
    torch.manual_seed(0)
    whole, parts = AreaAttention(32, 1).eval(), AreaAttention(32, 4).eval()
    parts.load_state_dict(whole.state_dict())
    x = torch.randn(1, 32, 4, 4)
    assert not torch.allclose(whole(x), parts(x), atol=1e-4)


LAYERS = {
    "attention": lambda: AreaAttention(64, 2),
    "block": lambda: AreaBlock(32, 1, 1.2),
    "a2c2f with areas": lambda: A2C2f(64, 64, 2, areas=4, residual=True, ratio=1.2),
    "a2c2f": lambda: A2C2f(48, 64, 2),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", LAYERS)
def test_fused_layers_agree(name: str) -> None:
    torch.manual_seed(0)
    layer = moved(LAYERS[name]())
    channels = 48 if name == "a2c2f" else 32 if name == "block" else 64
    x, twin = torch.randn(2, channels, 8, 12), copy.deepcopy(layer)
    for part in list(twin.modules()):
        if hasattr(part, "fuse"):
            part.fuse()
    assert not any(isinstance(part, nn.BatchNorm2d) for part in twin.modules())
    with torch.no_grad():
        assert torch.allclose(layer(x), twin(x.clone()), atol=1e-5)


def test_the_residual_starts_small() -> None:
    torch.manual_seed(0)
    block, x = A2C2f(64, 64, areas=1, residual=True).eval(), torch.randn(1, 64, 4, 4)
    with torch.no_grad():
        first = block(x)
        block.scale.fill_(0)
        assert torch.equal(block(x), x)
        block.scale.fill_(0.02)
        assert torch.allclose(block(x) - x, 2 * (first - x), atol=1e-5)


def test_units_and_ratio() -> None:
    assert isinstance(A2C2f(32, 32).units[0], C3k)
    units = A2C2f(64, 64, 3, areas=4, ratio=1.2).units
    assert len(units) == 3
    assert [part.expand.conv.out_channels for part in units[0]] == [38, 38]


def test_weights_start_narrow() -> None:
    torch.manual_seed(0)
    weights = torch.cat([p.flatten() for name, p in AreaBlock(64, 1, 2.0).named_parameters() if "conv" in name])
    assert weights.std().item() == pytest.approx(0.02, rel=0.03)


def test_widths_are_checked() -> None:
    with pytest.raises(FineSpotError, match="multiple of 32 channels but got 48"):
        AreaAttention(48, 1)
    with pytest.raises(FineSpotError, match="as many channels out as in but got 32 and 64"):
        A2C2f(32, 64, areas=1, residual=True)
