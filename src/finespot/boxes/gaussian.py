"""Boxes as Gaussians or points: similarities that do not need an overlap.

A box is the Gaussian with its center as mean and half its sides as standard deviations. NWD after "A Normalized
Gaussian Wasserstein Distance for Tiny Object Detection" (ISPRS 2022), GCD after "Gaussian Combined Distance" (GRSL
2025), KLD after "RFLA" (ECCV 2022), SAFit after "Visible-Thermal Tiny Object Detection" (2024), DotD after "Dot
Distance for Tiny Object Detection" (CVPRW 2021), SimD after "Similarity Distance-Based Label Assignment" (IROS 2024).

All take `a` and `b` (..., 4) xyxy that broadcast, return (...) with 1 for equal boxes, and have finite gradients. The
constants of NWD, SAFit and DotD are pixels of the network input: boxes in grid units or shares need other ones.
"""

from __future__ import annotations

import torch
from torch import Tensor

from finespot.boxes.geometry import SMALLEST_SIDE, extent, iou, root


def squared_wasserstein(a: Tensor, b: Tensor) -> Tensor:
    """Squared 2-Wasserstein distance of the Gaussians in square pixels, 0 for equal boxes."""
    one, other = extent(a), extent(b)
    apart = (one.x - other.x).square() + (one.y - other.y).square()
    return apart + ((one.width - other.width).square() + (one.height - other.height).square()) / 4


def nwd(a: Tensor, b: Tensor, constant: float = 12.8) -> Tensor:
    """exp(-W2 / constant), where the constant is the mean side of the data set's objects in pixels.

    It weighs a pixel alike for all sizes, so large boxes that nearly agree can have similarity 0.
    """
    return torch.exp(-root(squared_wasserstein(a, b)) / constant)


def gcd(a: Tensor, b: Tensor) -> Tensor:
    """exp(-root of the Gaussian combined distance): scale-free and symmetric."""
    one, other = extent(a), extent(b)
    x, y = one.x - other.x, one.y - other.y
    wider, taller = one.width - other.width, one.height - other.height
    distance = torch.zeros_like(x)
    for width, height in ((one.width, one.height), (other.width, other.height)):
        width, height = width.clamp(min=SMALLEST_SIDE), height.clamp(min=SMALLEST_SIDE)
        distance = distance + (x / width).square() + (y / height).square()
        distance = distance + ((wider / width).square() + (taller / height).square()) / 4
    return torch.exp(-root(distance / 2))


def kl_divergence(a: Tensor, b: Tensor) -> Tensor:
    """Kullback-Leibler divergence of `a` from `b`, in units of the size of `b`: 0 for equal boxes, not symmetric."""
    one, other = extent(a), extent(b)
    total = torch.full_like(one.x - other.x, -2)
    sides = ((one.x - other.x, one.width, other.width), (one.y - other.y, one.height, other.height))
    for apart, own, its in sides:
        own, its = own.clamp(min=SMALLEST_SIDE), its.clamp(min=SMALLEST_SIDE)
        total = total + (own / its).square() + 4 * (apart / its).square() + 2 * (its.log() - own.log())
    return total / 2


def kld(a: Tensor, b: Tensor) -> Tensor:
    """1 / (1 + KL(a || b)); `b` is the truth, whose size divides."""
    return 1 / (1 + kl_divergence(a, b))


def safit(a: Tensor, b: Tensor, constant: float = 32.0) -> Tensor:
    """NWD for small `b` (the truth), IoU for large ones, mixed by sigmoid(side of b / constant - 1); pixels."""
    size = extent(b)
    side = root(size.width * size.height)
    large = torch.sigmoid(side / constant - 1)
    return large * iou(a, b) + (1 - large) * nwd(a, b, constant)


def dotd(a: Tensor, b: Tensor, constant: float = 12.7) -> Tensor:
    """exp(-distance of the centers / constant), where the constant is the mean side of the objects in pixels."""
    one, other = extent(a), extent(b)
    return torch.exp(-root((one.x - other.x).square() + (one.y - other.y).square()) / constant)


def simd(a: Tensor, b: Tensor, m: float = 6.13, n: float = 4.59) -> Tensor:
    """exp(-(location + shape)) of differences in units of the summed sides; `m` (x) and `n` (y) are VisDrone's."""
    one, other = extent(a), extent(b)
    width = (one.width + other.width).clamp(min=SMALLEST_SIDE)
    height = (one.height + other.height).clamp(min=SMALLEST_SIDE)
    location = (m * (one.x - other.x) / width).square() + (n * (one.y - other.y) / height).square()
    shape = (m * (one.width - other.width) / width).square() + (n * (one.height - other.height) / height).square()
    return torch.exp(-(root(location) + root(shape)))
