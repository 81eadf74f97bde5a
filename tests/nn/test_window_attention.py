"""Attention in windows: against a table of which cells meet, against torch's own attention, on maps of any size."""

from __future__ import annotations

import copy

import pytest
import torch
from attention_reference import as_torch, count, moved
from torch import Tensor, nn
from torch.nn import functional as F

from finespot.errors import FineSpotError
from finespot.nn.layers import WindowAttention, WindowBlock

SIZES = [(7, 7), (5, 4), (10, 17), (3, 16), (14, 14), (1, 1)]


def picture(size: tuple[int, int], channels: int = 16) -> Tensor:
    return torch.randn(2, channels, *size, generator=torch.Generator().manual_seed(1))


def window_of(i: int, side: int, shifted: bool) -> int:
    """Which window a row (or column) lies in: of a side of several windows they may begin three cells later."""
    return (i - 3) // 7 if shifted and side > 7 else i // 7


@torch.no_grad()
@pytest.mark.parametrize("shifted", [False, True])
@pytest.mark.parametrize("size", SIZES)
def test_cells_attend_to_those_of_their_window(size: tuple[int, int], shifted: bool) -> None:
    layer, heads = moved(WindowAttention(16, heads=2, shifted=shifted)), 2
    layer.norm.bias.fill_(0.7)  # a cell that fills up would be seen
    x = picture(size).permute(0, 2, 3, 1)
    (height, width), cells = size, size[0] * size[1]
    bias = torch.full((heads, cells, cells), -torch.inf)
    for a in range(cells):
        for b in range(cells):
            (ay, ax), (by, bx) = divmod(a, width), divmod(b, width)
            same_row = window_of(ay, height, shifted) == window_of(by, height, shifted)
            if same_row and window_of(ax, width, shifted) == window_of(bx, width, shifted):
                bias[:, a, b] = layer.offsets[(ay - by + 6) * 13 + ax - bx + 6]
    tokens = F.layer_norm(x.reshape(2, cells, 16), (16,), layer.norm.weight, layer.norm.bias)
    want, inner = torch.empty_like(tokens), layer.attention
    for n in range(2):
        parts = []
        for h in range(heads):
            part = slice(8 * h, 8 * h + 8)
            query, key, value = (f(tokens[n])[:, part] for f in (inner.query, inner.key, inner.value))
            parts.append(torch.softmax(query @ key.T / 8**0.5 + bias[h], 1) @ value)
        want[n] = inner.out(torch.cat(parts, 1))
    assert torch.allclose(layer(x).reshape(2, cells, 16), want, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("size", SIZES)
def test_the_published_block_window_by_window(size: tuple[int, int]) -> None:
    block = moved(WindowBlock(16, heads=2, published=True))
    x, (height, width) = picture(size), size
    (layer,) = block.layers
    attention = as_torch(layer.attention.attention, 16, 2)
    side, across = min(7, height), min(7, width)
    y = F.conv2d(x, block.spread.weight, padding=1, groups=16)
    y = F.pad(y, (0, -width % across, 0, -height % side))
    for top in range(0, height, side):
        for left in range(0, width, across):
            w = y[:, :, top : top + side, left : left + across].flatten(2).transpose(1, 2)
            n = layer.attention.norm(w)
            w = w + attention(n, n, n, need_weights=False)[0]
            w = w + layer.feed_forward.contract(F.gelu(layer.feed_forward.expand(layer.norm(w))))
            y[:, :, top : top + side, left : left + across] = w.transpose(1, 2).reshape(2, 16, side, across)
    want = x + F.silu(block.mix.bn(F.conv2d(y[:, :, :height, :width], block.mix.conv.weight)))
    assert torch.allclose(block(x), want, atol=1e-5)


@torch.no_grad()
def test_published_windows_are_never_left_and_others_are() -> None:
    x = picture((21, 21)).permute(0, 2, 3, 1)
    other = x.clone()
    other[:, 8, 9, 0] += 5
    for published in (True, False):
        layers = moved(WindowBlock(16, heads=2, published=published)).layers
        changed = ((layers(x) - layers(other)).abs().amax((0, 3)) > 1e-6).nonzero().tolist()
        window = [[i, j] for i in range(7, 14) for j in range(7, 14)]
        # Of the pair, windows of the second layer (3 to 9, 10 to 16) carry it on to their other cells.
        assert changed == (window if published else [[i, j] for i in range(3, 17) for j in range(3, 17)])


@pytest.mark.parametrize(
    ("channels", "heads", "published", "pair"), [(256, 4, 595_456, 1_123_912), (64, 2, 38_272, 72_420)]
)
def test_parameters(channels: int, heads: int, published: int, pair: int) -> None:
    assert count(WindowBlock(channels, heads, published=True)) == published == 9 * channels**2 + 22 * channels
    assert count(WindowBlock(channels, heads)) == pair == 17 * channels**2 + 33 * channels + 2 * 169 * heads


@pytest.mark.parametrize("published", [False, True])
@pytest.mark.parametrize("size", SIZES)
def test_any_size_of_map(size: tuple[int, int], published: bool) -> None:
    torch.manual_seed(0)
    block, x = WindowBlock(16, heads=2, published=published).train(), picture(size).requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        made = block(x)
    assert made.shape == x.shape
    made.float().square().sum().backward()
    assert torch.isfinite(x.grad).all()
    assert all(torch.isfinite(p.grad).all() for p in block.parameters())


@pytest.mark.parametrize("published", [False, True])
def test_fused_blocks_agree(published: bool) -> None:
    block, x = moved(WindowBlock(16, heads=2, published=published)), picture((9, 15))
    twin = copy.deepcopy(block)
    for part in list(twin.modules()):
        if hasattr(part, "fuse"):
            part.fuse()
    assert any(isinstance(part, nn.BatchNorm2d) for part in twin.modules()) == published
    with torch.no_grad():
        assert torch.allclose(block(x), twin(x), atol=1e-5)


def test_offsets_start_small() -> None:
    torch.manual_seed(0)
    assert WindowAttention(64, heads=8).offsets.std().item() == pytest.approx(0.02, rel=0.1)


def test_heads_and_windows_are_checked() -> None:
    with pytest.raises(FineSpotError, match="but got 3 heads for 16 channels and windows of 7"):
        WindowAttention(16, heads=3)
    with pytest.raises(FineSpotError, match="windows of 0"):
        WindowAttention(16, heads=2, window=0)
