"""Draw a planned scene: ground with grain and furrows, shadows, things, then light, blur and noise of a camera.

A picture is drawn square by square, each twice as large and then halved, so that edges are smooth and a picture of any
size needs little memory beside its own pixels. Noise derives from (seed, index, square), so the picture is the same
for the same plan.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
import PIL.Image
import PIL.ImageDraw
import PIL.ImageFilter
from numpy.typing import NDArray

from finespot.data.synthetic import shapes
from finespot.data.synthetic.plan import Scene, Solid, shaded
from finespot.data.synthetic.shapes import Points

_SIDE = 1024
# Room around a square for blur and for shadows that fall into it.
_MARGIN = 8
_ZOOM = 2
_SHADOW = 0.52

Pixels = NDArray[np.uint8]


def render(scene: Scene) -> Pixels:
    """The picture (height, width, 3) uint8 RGB."""
    height, width = scene.size
    picture = np.empty((height, width, 3), np.uint8)
    for top in range(0, height, _SIDE):
        for left in range(0, width, _SIDE):
            bottom, right = min(top + _SIDE, height), min(left + _SIDE, width)
            picture[top:bottom, left:right] = _Square(scene, left, top, right, bottom).draw()
    return picture


class _Square:
    def __init__(self, scene: Scene, left: int, top: int, right: int, bottom: int) -> None:
        self.scene = scene
        self.x, self.y = left - _MARGIN, top - _MARGIN
        self.width, self.height = right - left + 2 * _MARGIN, bottom - top + 2 * _MARGIN
        self.rng = np.random.default_rng((*scene.seed, left, top))

    def draw(self) -> Pixels:
        ground = PIL.Image.fromarray(self._ground())
        brush = PIL.ImageDraw.Draw(ground)
        for outline, color in self.scene.marks:
            if self._near(outline):
                brush.polygon(self._zoomed(outline), fill=color)
        solids, objects = self._visible(self.scene.solids), self._visible(self.scene.objects)
        shadow = self._shadow(solids)
        # Things lie in the shadows of houses and trees, and throw their own on the ground only.
        ground = _darkened(ground, np.minimum(shadow, self._shadow(objects)))
        brush = PIL.ImageDraw.Draw(ground)
        for one in solids:
            for outline, color in one.parts:
                brush.polygon(self._zoomed(outline), fill=color)
        for one in objects:
            light = self._light_at(shadow, one)
            for outline, color in one.parts:
                brush.polygon(self._zoomed(outline), fill=shaded(color, light))
        small = ground.resize((self.width, self.height), PIL.Image.Resampling.BOX)
        return self._camera(small)[_MARGIN:-_MARGIN, _MARGIN:-_MARGIN]

    def _visible(self, solids: Iterable[Solid]) -> list[Solid]:
        return [one for one in solids if self._near(one.outline, 1.2 * one.height)]

    def _near(self, points: Points, margin: float = 0.0) -> bool:
        x1, y1, x2, y2 = shapes.envelope(points)
        right, bottom = self.x + self.width, self.y + self.height
        return x2 > self.x - margin and y2 > self.y - margin and x1 < right + margin and y1 < bottom + margin

    def _zoomed(self, points: Points) -> list[tuple[float, float]]:
        # A polygon's edge runs through pixel centers, which lie half a pixel in.
        return [((x - self.x) * _ZOOM - 0.5, (y - self.y) * _ZOOM - 0.5) for x, y in points.tolist()]

    def _ground(self) -> Pixels:
        """Colors of the ground with large and small grain, furrows, and waves on water."""
        numbers = PIL.Image.new("I", (self.width * _ZOOM, self.height * _ZOOM), 0)
        brush = PIL.ImageDraw.Draw(numbers)
        kinds = [one for one in self.scene.grounds if self._near(one.outline)]
        for number, one in enumerate(kinds):
            brush.polygon(self._zoomed(one.outline), fill=number)
        which = np.asarray(numbers)
        # Light changes slowly: once a pixel of the picture is enough, where edges want the zoomed ones.
        coarse = which[::_ZOOM, ::_ZOOM]
        y, x = np.mgrid[0 : self.height, 0 : self.width].astype(np.float32)
        x, y = x + self.x, y + self.y
        furrows = np.array([one.furrows for one in kinds], np.float32)[coarse]
        along = x * np.cos(furrows[..., 2]) + y * np.sin(furrows[..., 2])
        light = 1 + furrows[..., 0] * np.sin(2 * math.pi * along / furrows[..., 1])
        grain = np.array([one.grain for one in kinds], np.float32)[coarse]
        seed, scale = self.scene.seed[-1] * 7919 + self.scene.seed[0], self.scene.scale
        for period, strength in ((18 * scale, 0.20), (4.5 * scale, 0.14), (1.2 * scale, 0.10)):
            light += strength * grain * (value_noise(x / period, y / period, seed) - 0.5)
        water = np.array([one.water for one in kinds], np.bool_)[coarse]
        if water.any():
            waves = value_noise(x / (0.9 * scale), y / (2.6 * scale), seed + 1)
            light = np.where(water, light * (0.94 + 0.12 * waves + 0.2 * (waves > 0.93)), light)
        color = np.array([one.color for one in kinds], np.float32)[which]
        light = light.repeat(_ZOOM, axis=0).repeat(_ZOOM, axis=1)
        pixels: Pixels = np.clip(color * light[..., None], 0, 255).astype(np.uint8)
        return pixels

    def _shadow(self, solids: list[Solid]) -> NDArray[np.float32]:
        """Light on the ground: 1, or less where something stands in the sun's way."""
        mask = PIL.Image.new("L", (self.width * _ZOOM, self.height * _ZOOM), 255)
        brush = PIL.ImageDraw.Draw(mask)
        for one in solids:
            shift = (self.scene.sun[0] * one.height, self.scene.sun[1] * one.height)
            brush.polygon(self._zoomed(shapes.swept(one.outline, shift)), fill=round(255 * _SHADOW))
        light: NDArray[np.float32] = np.asarray(mask, np.float32) / np.float32(255)
        return light

    def _light_at(self, shadow: NDArray[np.float32], one: Solid) -> float:
        x, y = one.outline.mean(axis=0)
        column = min(max(int((x - self.x) * _ZOOM), 0), shadow.shape[1] - 1)
        row = min(max(int((y - self.y) * _ZOOM), 0), shadow.shape[0] - 1)
        return float(shadow[row, column])

    def _camera(self, picture: PIL.Image.Image) -> Pixels:
        look = np.random.default_rng((*self.scene.seed, 1))
        blur, noise = look.uniform(0.35, 0.8), look.uniform(1.5, 5.0)
        tint = 1 + look.normal(0, 0.025, 3)
        haze = look.uniform(0, 18)
        pixels = np.asarray(picture.filter(PIL.ImageFilter.GaussianBlur(blur)), np.float64)
        pixels = pixels * (self.scene.light * tint) * (1 - haze / 255) + haze
        pixels += self.rng.normal(0, noise, pixels.shape[:2])[..., None] + self.rng.normal(0, noise / 2, pixels.shape)
        taken: Pixels = np.clip(pixels, 0, 255).astype(np.uint8)
        return taken


def _darkened(picture: PIL.Image.Image, light: NDArray[np.float32]) -> PIL.Image.Image:
    return PIL.Image.fromarray((np.asarray(picture) * light[..., None]).astype(np.uint8))


def value_noise(x: NDArray[np.float32], y: NDArray[np.float32], seed: int) -> NDArray[np.float32]:
    """Smooth noise 0 to 1 with one value at each whole (x, y), the same whatever part is asked for."""
    left, top = np.floor(x), np.floor(y)
    across, down = x - left, y - top
    across, down = across * across * (3 - 2 * across), down * down * (3 - 2 * down)
    column, row = left.astype(np.int64), top.astype(np.int64)
    upper = _random(column, row, seed) * (1 - across) + _random(column + 1, row, seed) * across
    lower = _random(column, row + 1, seed) * (1 - across) + _random(column + 1, row + 1, seed) * across
    noise: NDArray[np.float32] = (upper * (1 - down) + lower * down).astype(np.float32)
    return noise


def _random(x: NDArray[np.int64], y: NDArray[np.int64], seed: int) -> NDArray[np.float32]:
    """A number 0 to 1 for each pair of whole numbers: an integer hash."""
    mixed = (x.astype(np.uint32) * np.uint32(374761393)) ^ (y.astype(np.uint32) * np.uint32(668265263))
    mixed ^= np.uint32(seed * 2246822519 % 2**32)
    mixed = (mixed ^ (mixed >> np.uint32(13))) * np.uint32(1274126177)
    mixed ^= mixed >> np.uint32(16)
    unit: NDArray[np.float32] = (mixed & np.uint32(0xFFFF)).astype(np.float32) / np.float32(65535)
    return unit
