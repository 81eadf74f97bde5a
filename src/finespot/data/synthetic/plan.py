"""What stands where in a drawn aerial picture: a town of blocks between roads, seen from straight above.

The plan is a list of outlines in pixels, from the ground up; nothing of it depends on how it is drawn, so the labels
are exact. Everything random comes from (seed, index). Cars, people and boats are from 4 to 40 pixels long: the ground
resolution is drawn so that cars are, people are never drawn below 4 pixels (square root of length times width), boats
not above 40.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from finespot.data.synthetic import shapes
from finespot.data.synthetic.shapes import Points
from finespot.structures import Classes, Size

CLASSES = Classes(("person", "car", "boat"))
PERSON, CAR, BOAT = range(3)

Color = tuple[int, int, int]

LEAST_PX, LARGEST_PX = 4.0, 40.0
# Pixels a meter: a car of 4.5 m has 9 to 36 pixels.
_SCALES = (2.0, 8.0)
# An object of which less would be on the picture is not drawn.
_LEAST_VISIBLE = 0.3

_FIELDS: tuple[Color, ...] = (
    (116, 128, 66),
    (142, 140, 84),
    (96, 116, 58),
    (164, 146, 98),
    (126, 104, 74),
    (84, 104, 60),
)
_ROOFS: tuple[Color, ...] = ((150, 84, 62), (128, 72, 58), (98, 92, 92), (122, 112, 104), (92, 80, 74), (164, 104, 80))
_FLAT_ROOFS: tuple[Color, ...] = ((168, 168, 164), (142, 144, 148), (186, 182, 172), (120, 126, 134))
_CARS: tuple[Color, ...] = (
    *((232, 232, 232), (205, 208, 210), (150, 154, 158), (90, 94, 98), (38, 40, 44), (30, 30, 34)),
    *((168, 34, 34), (34, 62, 128), (60, 98, 152), (214, 196, 150), (34, 92, 60), (222, 168, 44)),
)
_CLOTHES: tuple[Color, ...] = (
    *((40, 44, 70), (190, 50, 50), (230, 230, 226), (60, 60, 62), (230, 190, 60), (80, 130, 190), (150, 90, 130)),
)
_GRASS, _PARK = (104, 122, 64), (92, 118, 58)
_ASPHALT, _PAVEMENT, _LOT = (104, 104, 106), (158, 154, 148), (118, 118, 118)
_WATER, _SAND = (52, 88, 104), (206, 190, 152)


@dataclass(frozen=True)
class Style:
    """What a person chooses: `density` multiplies the number of cars, people and boats."""

    size: Size = (640, 640)
    density: float = 1.0


@dataclass(frozen=True)
class Ground:
    """A piece of ground: outline, color, grain (noise, 0 to 1) and furrows (strength, period in px, angle)."""

    outline: Points
    color: Color
    grain: float = 0.3
    furrows: tuple[float, float, float] = (0.0, 8.0, 0.0)
    water: bool = False


@dataclass(frozen=True)
class Solid:
    """Something that stands up: outline and height (px) throw a shadow; `parts` are drawn on top, in order."""

    outline: Points
    height: float
    parts: tuple[tuple[Points, Color], ...]


@dataclass
class Scene:
    """A plan: `marks` are painted on the ground; labels belong to `objects`, one each."""

    size: Size
    seed: tuple[int, ...]
    scale: float
    sun: tuple[float, float] = (0.5, 0.5)
    light: float = 1.0
    grounds: list[Ground] = field(default_factory=list)
    marks: list[tuple[Points, Color]] = field(default_factory=list)
    solids: list[Solid] = field(default_factory=list)
    objects: list[Solid] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)

    def boxes(self) -> NDArray[np.float64]:
        """(n, 4) xyxy of the objects, cut at the picture's edge."""
        height, width = self.size
        found = np.array([shapes.envelope(one.outline) for one in self.objects]).reshape(-1, 4)
        limit = np.array([width, height, width, height], np.float64)
        cut: NDArray[np.float64] = np.minimum(np.maximum(found, 0), limit)
        return cut


def plan_scene(index: int, *, seed: int = 0, style: Style | None = None) -> Scene:
    """The plan of picture `index`: the same for the same seed and style on every machine."""
    return _Planner(index, seed, style or Style()).plan()


class _Planner:
    def __init__(self, index: int, seed: int, style: Style) -> None:
        self.rng = rng = np.random.default_rng((seed, index))
        self.style = style
        low, high = (math.log(value) for value in _SCALES)
        self.scale = math.exp(rng.uniform(low, high))
        self.angle = rng.uniform(0, math.pi / 2)
        away, turn = rng.uniform(0.3, 1.1), rng.uniform(0, 2 * math.pi)
        self.scene = Scene(style.size, (seed, index), self.scale, (away * math.cos(turn), away * math.sin(turn)))
        self.scene.light = rng.uniform(0.8, 1.12)
        self.center = (style.size[1] / 2, style.size[0] / 2)
        self.taken: dict[tuple[int, int], list[tuple[float, float, float]]] = {}

    def plan(self) -> Scene:
        """Ground, then roads and blocks, then what moves."""
        reach = math.hypot(*self.style.size) / 2 / self.scale + 20
        lines = [self._lines(reach) for _ in range(2)]
        everything = self._outline(-reach, -reach, 2 * reach, 2 * reach)
        self.scene.grounds.append(Ground(everything, _PAVEMENT, 0.15))
        # The last road before the sea (meters along the first axis); inf: no sea.
        coast = self.rng.uniform(-0.4, 0.9) * reach if self.rng.random() < 0.3 else math.inf
        quay = max((u for u in lines[0] if u < coast), default=-reach) if coast < reach else math.inf
        for left, right in zip(lines[0], lines[0][1:]):
            for top, bottom in zip(lines[1], lines[1][1:]):
                if right <= quay:
                    self._block(left, top, right, bottom)
        for u in lines[0]:
            if u <= quay:
                self._road(u, -reach, reach, across=False)
        for v in lines[1] if quay > -reach else ():
            self._road(v, -reach, min(reach, quay), across=True)
        if quay < reach:
            self._coast(quay, reach)
        return self.scene

    # The town's own axes: meters along and across its main direction.

    def _at(self, u: float, v: float) -> tuple[float, float]:
        cos, sin = math.cos(self.angle), math.sin(self.angle)
        x, y = u * self.scale, v * self.scale
        return self.center[0] + cos * x - sin * y, self.center[1] + sin * x + cos * y

    def _outline(self, u: float, v: float, length: float, width: float) -> Points:
        """The rectangle from (u, v), `length` along and `width` across, in meters."""
        corners = ((0.0, 0.0), (length, 0.0), (length, width), (0.0, width))
        return np.array([self._at(u + a, v + b) for a, b in corners])

    def _lines(self, reach: float) -> list[float]:
        found = [-reach - self.rng.uniform(0, 60)]
        while found[-1] < reach:
            found.append(found[-1] + self.rng.uniform(55, 130))
        return found

    def _seen(self, points: Points, margin: float = 0.0) -> bool:
        x1, y1, x2, y2 = shapes.envelope(points)
        height, width = self.style.size
        return x2 > -margin and y2 > -margin and x1 < width + margin and y1 < height + margin

    # Roads

    def _road(self, at: float, start: float, end: float, across: bool) -> None:
        width = float(self.rng.choice([7.0, 8.0, 11.0]))
        if across:
            outline = self._outline(start, at - width / 2, end - start, width)
        else:
            outline = self._outline(at - width / 2, start, width, end - start)
        self.scene.grounds.append(Ground(outline, _ASPHALT, 0.22))
        for dash in np.arange(start, end, 6.0):
            mark = self._outline(dash, at - 0.09, 3, 0.18) if across else self._outline(at - 0.09, dash, 0.18, 3)
            if self._seen(mark):
                self.scene.marks.append((mark, (222, 222, 214)))
        busy = self.rng.uniform(0.2, 1.6) * self.style.density
        for lane in (-1, 1):
            along = start + self.rng.exponential(16 / busy)
            while along < end:
                aside = at + lane * width / 4 + self.rng.normal(0, 0.15)
                heading = self.angle + (0 if across else math.pi / 2) + (math.pi if lane > 0 else 0)
                self._car((along, aside) if across else (aside, along), heading + self.rng.normal(0, 0.03))
                along += 6.5 + self.rng.exponential(22 / busy)
            self._walkers(at + lane * (width / 2 + 1.5), start, end, across)

    def _walkers(self, at: float, start: float, end: float, across: bool) -> None:
        count = self.rng.poisson((end - start) / 45 * self.style.density)
        for along in self.rng.uniform(start, end, count):
            aside = at + self.rng.normal(0, 0.5)
            self._person((along, aside) if across else (aside, along))

    # Blocks between roads

    def _block(self, left: float, top: float, right: float, bottom: float) -> None:
        edge = 9.0
        u, v, length, width = left + edge, top + edge, right - left - 2 * edge, bottom - top - 2 * edge
        outline = self._outline(u, v, length, width)
        use = self.rng.choice(
            ["houses", "fields", "park", "lot", "works", "pond"], p=[0.32, 0.24, 0.14, 0.12, 0.1, 0.08]
        )
        if self._seen(outline, 40 * self.scale):
            getattr(self, f"_{use}")(u, v, length, width, outline)

    def _houses(self, u: float, v: float, length: float, width: float, outline: Points) -> None:
        self.scene.grounds.append(Ground(outline, _GRASS, 0.5))
        for row in (v + 7, v + width - 7):
            along = u + 6
            while along < u + length - 8:
                deep, long = self.rng.uniform(8, 11), self.rng.uniform(8, 14)
                if self.rng.random() < 0.85:
                    self._house(along + long / 2, row + self.rng.uniform(-1, 1), long, deep)
                    drive = self._outline(along + long + 0.7, row - 6, 3, 12)
                    self.scene.grounds.append(Ground(drive, _PAVEMENT, 0.15))
                    if self.rng.random() < 0.55 * self.style.density:
                        self._car((along + long + 2.2, row + self.rng.uniform(-3, 3)), self.angle + math.pi / 2)
                along += long + self.rng.uniform(5, 9)
        self._trees(u, v + 14, length, width - 28, 0.006)
        self._people(u, v + 13, length, width - 26, 0.0012)

    def _house(self, u: float, v: float, long: float, deep: float) -> None:
        roof = self.rng.choice(len(_ROOFS))
        angle = self.angle + (math.pi / 2 if deep > long else 0.0)
        long, deep = max(long, deep), min(long, deep)
        place = self._at(u, v)
        outline = shapes.rectangle(place, long * self.scale, deep * self.scale, angle)
        ridge = shapes.placed(np.array([[-long * 0.38, 0.0], [long * 0.38, 0.0]]) * self.scale, place, angle)
        a, b, c, d = outline
        left, right = ridge
        lit = [self._facing(angle + turn) for turn in (-math.pi / 2, 0.0, math.pi / 2, math.pi)]
        faces = (
            np.array([a, b, right, left]),
            np.array([b, c, right]),
            np.array([c, d, left, right]),
            np.array([d, a, left]),
        )
        parts = [(face, shaded(_ROOFS[roof], light)) for face, light in zip(faces, lit)]
        chimney = shapes.placed(np.array([[long * 0.2, deep * 0.12]]) * self.scale, place, angle)[0]
        parts.append(
            (shapes.rectangle((chimney[0], chimney[1]), 0.9 * self.scale, 0.9 * self.scale, angle), (96, 70, 62))
        )
        self._solid(outline, 6.5, parts)

    def _facing(self, angle: float) -> float:
        """How bright a roof's side is that faces `angle`: the shadow falls away from the light."""
        sun = self.scene.sun
        return 1.0 - 0.28 * (math.cos(angle) * sun[0] + math.sin(angle) * sun[1]) / max(math.hypot(*sun), 1e-6)

    def _fields(self, u: float, v: float, length: float, width: float, outline: Points) -> None:
        pieces = int(self.rng.integers(1, 4))
        for number in range(pieces):
            part = self._outline(u + length * number / pieces, v, length / pieces - 1.2, width)
            color = _FIELDS[self.rng.choice(len(_FIELDS))]
            furrows = (self.rng.uniform(0.0, 0.14), self.rng.uniform(0.8, 2.4) * self.scale, self.angle)
            self.scene.grounds.append(Ground(part, color, self.rng.uniform(0.3, 0.7), furrows))
        self._people(u, v, length, width, 0.0003)

    def _park(self, u: float, v: float, length: float, width: float, outline: Points) -> None:
        self.scene.grounds.append(Ground(outline, _PARK, 0.55))
        path = np.stack(
            [self._outline(u, v + width * 0.4, length, 2.5), self._outline(u + length * 0.6, v, 2.5, width)]
        )
        for one in path:
            self.scene.grounds.append(Ground(one, _SAND, 0.3))
        self._people(u, v + width * 0.4, length, 2.5, 0.03)
        self._people(u, v, length, width, 0.003)
        self._trees(u, v, length, width, 0.008)

    def _lot(self, u: float, v: float, length: float, width: float, outline: Points) -> None:
        self.scene.grounds.append(Ground(outline, _LOT, 0.2))
        full = self.rng.uniform(0.2, 0.9)
        for row in np.arange(v + 3, v + width - 5, 11.5):
            for slot in np.arange(u + 2, u + length - 2, 2.6):
                line = self._outline(slot, row, 0.12, 5)
                if self._seen(line):
                    self.scene.marks.append((line, (214, 214, 208)))
                if self.rng.random() < full * min(self.style.density, 1.1):
                    turn = self.angle + math.pi / 2 + (math.pi if self.rng.random() < 0.5 else 0)
                    self._car((slot + 1.3, row + 2.5 + self.rng.normal(0, 0.2)), turn + self.rng.normal(0, 0.03))
        self._people(u, v, length, width, 0.002)

    def _works(self, u: float, v: float, length: float, width: float, outline: Points) -> None:
        self.scene.grounds.append(Ground(outline, _PAVEMENT, 0.25))
        long, deep = length * self.rng.uniform(0.5, 0.8), width * self.rng.uniform(0.4, 0.7)
        roof = _FLAT_ROOFS[self.rng.choice(len(_FLAT_ROOFS))]
        left, top = u + (length - long) / 2, v + (width - deep) / 2
        parts: list[tuple[Points, Color]] = [
            (self._outline(left, top, long, deep), shaded(roof, 0.88)),
            (self._outline(left + 0.6, top + 0.6, long - 1.2, deep - 1.2), roof),
        ]
        for _ in range(int(self.rng.integers(2, 9))):
            a, b = self.rng.uniform(0.1, 0.85) * long, self.rng.uniform(0.1, 0.85) * deep
            parts.append((self._outline(left + a, top + b, 2.4, 1.8), shaded(roof, 0.72)))
        self._solid(self._outline(left, top, long, deep), 9.0, parts)
        self._people(u, v, length, (width - deep) / 2 - 1, 0.003)

    def _pond(self, u: float, v: float, length: float, width: float, outline: Points) -> None:
        self.scene.grounds.append(Ground(outline, _PARK, 0.5))
        place = self._at(u + length / 2, v + width / 2)
        size = (length * 0.8 * self.scale, width * 0.8 * self.scale)
        for grow, color, wet in ((1.06, _SAND, False), (1.0, _WATER, True)):
            shore = shapes.ellipse(place, size[0] * grow, size[1] * grow, self.angle, 40)
            self.scene.grounds.append(Ground(shore, color, 0.35, water=wet))
        self._boats(u + length * 0.28, v + width * 0.28, length * 0.44, width * 0.44, 0.0022)
        self._trees(u, v, length, width * 0.06, 0.02)

    def _coast(self, quay: float, reach: float) -> None:
        """Sea beyond the last road before the coast: beach or quay, piers with moored boats."""
        start = quay + 14
        self.scene.grounds.append(Ground(self._outline(quay + 6, -reach, 2 * reach, 2 * reach), _SAND, 0.4))
        self._people(quay + 6, -reach, 8, 2 * reach, 0.012)
        self.scene.grounds.append(Ground(self._outline(start, -reach, 2 * reach, 2 * reach), _WATER, 0.4, water=True))
        for pier in np.arange(-reach + self.rng.uniform(0, 60), reach, 70.0):
            self.scene.grounds.append(Ground(self._outline(start, pier, 42, 2.4), (148, 128, 104), 0.3))
            for along in np.arange(start + 4, start + 40, 5.0):
                for side in (-1, 1):
                    if self.rng.random() < 0.5 * self.style.density:
                        self._boat((along, pier + 1.2 + side * 5.4), self.angle + side * math.pi / 2, moored=True)
        self._boats(start + 48, -reach, reach, 2 * reach, 0.0006)

    # What moves, and trees

    def _trees(self, u: float, v: float, length: float, width: float, share: float) -> None:
        for _ in range(self.rng.poisson(max(length * width * share, 0))):
            a, b = u + self.rng.uniform(0, length), v + self.rng.uniform(0, width)
            self._tree(self._at(a, b), self.rng.uniform(1.6, 3.8) * self.scale)

    def _tree(self, place: tuple[float, float], radius: float) -> None:
        outline = shapes.ellipse(place, 2 * radius, 2 * radius, 0.0)
        if not self._seen(outline, 4 * radius) or not self._free(place, radius):
            return
        green = shaded((62, 88, 44), self.rng.uniform(0.8, 1.25))
        parts = [(outline, shaded(green, 0.8))]
        for _ in range(9):
            turn, away = self.rng.uniform(0, 2 * math.pi), self.rng.uniform(0, 0.55) * radius
            spot = (place[0] + away * math.cos(turn), place[1] + away * math.sin(turn))
            lit = 1.0 - 0.35 * (math.cos(turn) * self.scene.sun[0] + math.sin(turn) * self.scene.sun[1]) * away / radius
            side = self.rng.uniform(0.5, 0.95) * radius
            parts.append((shapes.ellipse(spot, side, side, 0.0, 10), shaded(green, lit * self.rng.uniform(0.9, 1.15))))
        self._solid(outline, 2.2 * radius / self.scale, parts)

    def _car(self, at: tuple[float, float], angle: float) -> None:
        length, width = self.rng.uniform(3.9, 4.9) * self.scale, self.rng.uniform(1.7, 1.95) * self.scale
        place = self._at(*at)
        paint = shaded(_CARS[self.rng.choice(len(_CARS))], self.rng.uniform(0.9, 1.1))
        glass = (34, 40, 48)
        body = shapes.placed(shapes.car_body(length, width), place, angle)

        def pane(start: float, end: float, wide: float, narrow: float) -> Points:
            corners = [[start * length, -wide * width], [end * length, -narrow * width]]
            corners += [[end * length, narrow * width], [start * length, wide * width]]
            return shapes.placed(np.array(corners), place, angle)

        parts = [
            (body, paint),
            (pane(0.20, 0.07, 0.40, 0.34), glass),
            (pane(-0.34, -0.26, 0.38, 0.32), glass),
            (pane(-0.25, 0.06, 0.36, 0.36), shaded(paint, 1.08)),
        ]
        self._object(CAR, place, body, 1.5, parts, radius=length / 2)

    def _people(self, u: float, v: float, length: float, width: float, share: float) -> None:
        for _ in range(self.rng.poisson(max(length * width * share * self.style.density, 0))):
            self._person((u + self.rng.uniform(0, length), v + self.rng.uniform(0, width)))

    def _person(self, at: tuple[float, float]) -> None:
        size = max(0.75 * self.scale, 1.04 * LEAST_PX / math.sqrt(0.62))
        place, angle = self._at(*at), self.rng.uniform(0, 2 * math.pi)
        body = shapes.ellipse(place, size * 0.62, size, angle, 12)
        skin = shaded((204, 160, 130), self.rng.uniform(0.45, 1.05))
        head = shapes.ellipse(place, size * 0.42, size * 0.42, angle, 10)
        parts = [(body, _CLOTHES[self.rng.choice(len(_CLOTHES))]), (head, shaded(skin, 0.8))]
        self._object(PERSON, place, body, 1.7, parts, radius=size / 2)

    def _boats(self, u: float, v: float, length: float, width: float, share: float) -> None:
        for _ in range(self.rng.poisson(max(length * width * share * self.style.density, 0))):
            at = (u + self.rng.uniform(0, length), v + self.rng.uniform(0, width))
            self._boat(at, self.rng.uniform(0, 2 * math.pi), moored=False)

    def _boat(self, at: tuple[float, float], angle: float, moored: bool) -> None:
        length = min(self.rng.uniform(4.5, 9.0) * self.scale, LARGEST_PX)
        width = length * self.rng.uniform(0.30, 0.40)
        place = self._at(*at)
        body = shapes.placed(shapes.hull(length, width), place, angle)
        deck = shapes.placed(shapes.hull(length * 0.8, width * 0.7), place, angle)
        white, inside = (
            shaded((238, 238, 234), self.rng.uniform(0.85, 1.0)),
            shaded((176, 140, 100), self.rng.uniform(0.7, 1.2)),
        )
        cabin = shapes.placed(
            np.array([[-0.05, -0.22], [0.2, -0.16], [0.2, 0.16], [-0.05, 0.22]]) * length * 0.8, place, angle
        )
        if not moored and self.rng.random() < 0.6 and self._free(place, length / 2):
            for side in (-1, 1):
                tail = np.array([[-0.5, 0.0], [-2.2, side * 0.5], [-2.2, side * 0.42]]) * length
                self.scene.marks.append((shapes.placed(tail, place, angle), (150, 172, 178)))
        self._object(
            BOAT, place, body, 1.0, [(body, white), (deck, inside), (cabin, shaded(white, 0.9))], radius=length / 2
        )

    def _object(
        self,
        label: int,
        place: tuple[float, float],
        outline: Points,
        height: float,
        parts: list[tuple[Points, Color]],
        radius: float,
    ) -> None:
        """Keep an object where there is room for it and enough of it is on the picture."""
        x1, y1, x2, y2 = shapes.envelope(outline)
        high, wide = self.style.size
        seen = max(min(x2, wide) - max(x1, 0), 0) * max(min(y2, high) - max(y1, 0), 0)
        if seen < _LEAST_VISIBLE * (x2 - x1) * (y2 - y1) or not self._free(place, radius):
            return
        self._take(place, radius)
        self.scene.objects.append(Solid(outline, height * self.scale, tuple(parts)))
        self.scene.labels.append(label)

    def _solid(self, outline: Points, height: float, parts: list[tuple[Points, Color]]) -> None:
        """Keep a building or a tree; nothing is put where it stands."""
        if not self._seen(outline, 40 * self.scale):
            return
        x1, y1, x2, y2 = shapes.envelope(outline)
        spots = 1 + int(max(x2 - x1, y2 - y1) / (6 * self.scale))
        for x in np.linspace(x1, x2, 2 * spots + 1)[1::2]:
            for y in np.linspace(y1, y2, 2 * spots + 1)[1::2]:
                self._take((float(x), float(y)), max(x2 - x1, y2 - y1) / spots / 2)
        self.scene.solids.append(Solid(outline, height * self.scale, tuple(parts)))

    # Room: discs that are taken, by square of the picture

    def _square(self, x: float, y: float) -> tuple[int, int]:
        return int(x // 64), int(y // 64)

    def _take(self, place: tuple[float, float], radius: float) -> None:
        self.taken.setdefault(self._square(*place), []).append((*place, radius))

    def _free(self, place: tuple[float, float], radius: float) -> bool:
        reach = 1 + int((radius + 48) // 64)
        column, row = self._square(*place)
        for x in range(column - reach, column + reach + 1):
            for y in range(row - reach, row + reach + 1):
                for other_x, other_y, other in self.taken.get((x, y), ()):
                    if math.hypot(place[0] - other_x, place[1] - other_y) < 0.75 * (radius + other):
                        return False
        return True


def shaded(color: Color, light: float) -> Color:
    """A color made darker (below 1) or lighter."""
    red, green, blue = (min(255, max(0, round(value * light))) for value in color)
    return red, green, blue
