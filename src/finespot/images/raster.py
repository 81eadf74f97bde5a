"""Rasters: files too large to be decoded as a whole, read window by window through rasterio (GDAL).

GeoTIFF, COG, BigTIFF, JPEG2000 and whatever else GDAL reads. What is handed out are the samples of chosen bands, and
which pixels hold data. GDAL keeps decoded blocks in a cache, whose size is bounded here: by default it takes 5 % of the
machine's memory. Its overviews serve for samples and pictures of the whole only: many are made by taking every second
pixel, and what is small is lost in them.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from finespot.errors import FineSpotError, import_extra
from finespot.images.georeference import GeoReference
from finespot.structures import Size, Window

T = TypeVar("T")
Samples = NDArray[Any]
Valid = NDArray[np.bool_]

# Enough for two rows of blocks of 512 px of three bands in a raster 20,000 px wide.
CACHE_BYTES = 64 << 20
# A block is decoded as a whole. Above this, a file of one block is as good as one that cannot be read in parts.
_LARGEST_BLOCK = 512 << 20


class Raster:
    """A raster file, open; a context that closes it.

    Parameters
    ----------
    bands:
        Numbers (from 1) of the bands that stand for red, green and blue, or of the one that stands for all three. By
        default what the file says; else the first three, or the first of fewer; alpha is never one of them.

    Attributes
    ----------
    path, size, dtype:
        The file, its (height, width), and the type of its samples.
    bands, band_count:
        Those that are read, one or three, and how many the file has.
    block:
        (height, width) of what the file stores as one piece; `stripped` says that pieces are as wide as the raster.
    place:
        Where it lies on the ground; None without geo-reference.
    palette:
        (65536, 3) uint8: the colors that the values of the one band stand for, where they stand for colors.
    notes:
        What was decided, one line each.

    Raises
    ------
    FineSpotError
        The file cannot be read as a raster, lacks a band, holds complex numbers, or cannot be read in parts.
    """

    def __init__(self, path: str | os.PathLike[str], bands: Sequence[int] | None = None) -> None:
        self.path = os.fspath(path)
        self._gdal = import_extra("rasterio", "geo")
        self._file = self._open()
        try:
            self.size: Size = (int(self._file.height), int(self._file.width))
            self.band_count = int(self._file.count)
            self.notes: list[str] = []
            self.palette: NDArray[np.uint8] | None = None
            self.bands = self._choose(bands)
            self.dtype = self._type()
            self.block: Size = tuple(self._file.block_shapes[0])
            self.place = self._georeference()
            self._check()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Raster:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    @property
    def stripped(self) -> bool:
        """Whether a window of it costs all the width of the raster."""
        return self._file.driver == "GTiff" and self.block[1] == self.size[1] > 1024

    @property
    def tiling_commands(self) -> str:
        """The commands that make a tiled copy."""
        stem = os.path.splitext(os.path.basename(self.path))[0]
        copy = os.path.join(os.path.dirname(self.path), f"{stem}_tiled.tif")
        # rio takes over the blocks of the source, which no tile may have.
        more = "--co TILED=YES --co BLOCKXSIZE=512 --co BLOCKYSIZE=512 --co COMPRESS=DEFLATE --co BIGTIFF=IF_SAFER"
        return (
            f"gdal_translate -co TILED=YES -co COMPRESS=DEFLATE -co BIGTIFF=IF_SAFER {self.path} {copy} "
            f"(or: rio convert {more} {self.path} {copy})"
        )

    @property
    def bits(self) -> int:
        """How many bits of an unsigned sample are used, where the file says so; else those of its type."""
        said = self._file.tags(1, ns="IMAGE_STRUCTURE").get("NBITS", "")
        return int(said) if said.isdecimal() else 8 * self.dtype.itemsize

    def read(self, window: Window) -> tuple[Samples, Valid | None]:
        """Samples (h, w, 1 or 3) of `window` (x1, y1, x2, y2), whole pixels inside the raster, and which hold data
        (h, w); None where all do.
        """
        part = _window(window)
        samples = self._ask(lambda: self._file.read(list(self.bands), window=part))
        valid = self._valid(samples, lambda: self._file.read_masks(self.bands[0], window=part))
        return np.ascontiguousarray(np.moveaxis(samples, 0, 2)), valid

    def sample(self, side: int = 1024) -> tuple[Samples, Valid | None]:
        """Some of the pixels, spread over all of the raster: samples (h, w, 1 or 3) and which hold data.

        From an overview where there is one; else of places on a grid, which are decoded only where they are.
        """
        height, width = self.size
        if max(self.size) <= side:
            return self.read((0, 0, width, height))
        if self._file.overviews(self.bands[0]):
            factor = max(self.size) / side
            shape = max(1, round(height / factor)), max(1, round(width / factor))
            read = self._ask(lambda: self._file.read(list(self.bands), out_shape=(len(self.bands), *shape)))
            masks = lambda: self._file.read_masks(self.bands[0], out_shape=shape)  # noqa: E731
            return np.ascontiguousarray(np.moveaxis(read, 0, 2)), self._valid(read, masks)
        return self._places(16, side // 16)

    def overview(self, factor: float) -> Raster | None:
        """The coarsest overview that the file holds in which at most `factor` pixels became one; None without."""
        levels = [int(one) for one in self._file.overviews(self.bands[0])]
        fitting = [number for number, level in enumerate(levels) if level <= factor]
        if not fitting:
            return None
        made = Raster.__new__(Raster)
        made.__dict__.update(self.__dict__)
        made._file = self._open(overview_level=max(fitting, key=lambda number: levels[number]))
        made.size = (int(made._file.height), int(made._file.width))
        return made

    def signature(self) -> dict[str, Any]:
        """What tells the file from another one, as plain values."""
        place = None if self.place is None else [list(self.place.transform), self.place.crs]
        return {"size": list(self.size), "bands": list(self.bands), "bytes": _length(self.path), "place": place}

    def _open(self, **options: Any) -> Any:
        if not os.path.exists(self.path) and "://" not in self.path and not self.path.startswith("/vsi"):
            raise FineSpotError("expected a raster but there is no such file", where=self.path)
        with warnings.catch_warnings():
            # Said in words of our own where it matters.
            warnings.simplefilter("ignore", self._gdal.errors.NotGeoreferencedWarning)
            return self._ask(lambda: self._gdal.open(self.path, **options))

    def _ask(self, question: Callable[[], T]) -> T:
        """What GDAL answers, within the bounded cache, its errors as one line."""
        try:
            with self._bounded():
                return question()
        except (self._gdal.errors.RasterioError, self._gdal.errors.CRSError, ValueError) as error:
            reason = str(error.__cause__ or error)
            what = f"the raster cannot be read, it is damaged, incomplete or of an unknown kind ({reason})"
            raise FineSpotError(what, where=self.path) from error

    @contextmanager
    def _bounded(self) -> Iterator[None]:
        with self._gdal.Env(GDAL_CACHEMAX=CACHE_BYTES):
            yield

    def _choose(self, asked: Sequence[int] | None) -> tuple[int, ...]:
        kinds = [one.name for one in self._file.colorinterp]
        if asked is not None:
            strange = [one for one in asked if not 1 <= one <= self.band_count]
            if strange:
                raise FineSpotError(
                    f"expected bands from 1 to {self.band_count} but got {strange[0]}", where=f"{self.path}, bands"
                )
            if len(asked) not in (1, 3):
                raise FineSpotError(f"expected one band or three but got {len(asked)}", where="bands")
            return tuple(asked)
        if kinds == ["palette"]:
            self.palette = self._colors()
            return (1,)
        colors = [number for number, kind in enumerate(kinds, 1) if kind != "alpha"]
        if "alpha" in kinds:
            self.notes.append("the alpha band says where there is data, and is not looked at")
        if not colors:
            raise FineSpotError("expected a band with a picture but got alpha only", where=self.path)
        named = [kinds.index(color) + 1 for color in ("red", "green", "blue") if color in kinds]
        chosen = named if len(named) == 3 else colors[:3] if len(colors) >= 3 else colors[:1]
        if len(chosen) < len(colors):
            use = f"{chosen[0]} is looked at"
            if len(chosen) == 3:
                use = f"{chosen[0]}, {chosen[1]} and {chosen[2]} stand for red, green and blue"
            self.notes.append(f"of {len(colors)} bands, {use}; --bands chooses others")
        return tuple(chosen)

    def _colors(self) -> NDArray[np.uint8]:
        colors = self._file.colormap(1)
        table = np.zeros((1 << 16, 3), np.uint8)
        table[list(colors)] = [color[:3] for color in colors.values()]
        return table

    def _georeference(self) -> GeoReference | None:
        identity = self._file.transform.is_identity
        if identity and (self._file.gcps[0] or self._file.rpcs):
            raise FineSpotError(
                "expected a raster whose pixels lie in a grid but its place is given by control points",
                where=self.path,
                hint="bring it into a map with gdalwarp first",
            )
        crs = self._file.crs
        if identity and not crs:
            return None
        return GeoReference(tuple(self._file.transform)[:6], crs.to_wkt() if crs else "", self.path)

    def _type(self) -> np.dtype[Any]:
        kinds = sorted({str(self._file.dtypes[number - 1]) for number in self.bands})
        if len(kinds) > 1 or "complex" in kinds[0]:
            what = f"expected real samples of one type but got {', '.join(kinds)}"
            raise FineSpotError(what, where=self.path, hint="choose others with --bands")
        return np.dtype(kinds[0])

    def _check(self) -> None:
        if self.block[0] * self.block[1] * self.dtype.itemsize * len(self.bands) > _LARGEST_BLOCK:
            raise FineSpotError(
                f"expected a raster in tiles but it is stored in pieces of {self.block[1]}x{self.block[0]} px, "
                "each too large for the memory",
                where=self.path,
                hint=self.tiling_commands,
            )
        if self.stripped:
            self.notes.append(
                f"{self.path} is stored in strips, not tiles, so each window costs the whole width; "
                f"a tiled copy is read faster: {self.tiling_commands}"
            )

    def _valid(self, samples: Samples, masks: Callable[[], Samples]) -> Valid | None:
        """Which pixels of (bands, h, w) hold data in one band at least."""
        flags = {flag.name for flag in self._file.mask_flag_enums[self.bands[0] - 1]}
        finite: Valid | None = np.asarray(np.isfinite(samples).any(0)) if samples.dtype.kind == "f" else None
        if flags & {"alpha", "per_dataset"}:
            valid: Valid = np.asarray(self._ask(masks) > 0)
        elif "nodata" in flags:
            values = [self._file.nodatavals[number - 1] for number in self.bands]
            valid = np.logical_or.reduce([band != value for band, value in zip(samples, values)])
        elif finite is None:
            return None
        else:
            valid = finite
        valid = valid if finite is None else valid & finite
        return None if valid.all() else valid

    def _places(self, count: int, side: int) -> tuple[Samples, Valid | None]:
        """`count` x `count` windows of `side` px, spread evenly."""
        height, width = self.size
        high, wide = min(side, height), min(side, width)
        tops, lefts = (
            np.linspace(0, length - own, count).astype(int) for length, own in ((height, high), (width, wide))
        )
        parts = [self.read((x, y, x + wide, y + high)) for y in tops.tolist() for x in lefts.tolist()]
        samples = np.concatenate([one for one, _ in parts])
        valid = np.concatenate([np.ones(one.shape[:2], bool) if held is None else held for one, held in parts])
        return samples, None if valid.all() else valid


def is_georeferenced(path: str | os.PathLike[str]) -> bool:
    """Whether a TIFF or JPEG2000 file says where on the ground it lies, as far as its header tells; needs no rasterio.

    What is none of these, or cannot be read, is not.
    """
    name = os.fspath(path)
    try:
        with open(name, "rb") as file:
            head = file.read(1 << 20)
    except OSError:
        return False
    if head[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return _geo_tags(name)
    return head[4:8] == b"jP  " and any(sign in head for sign in (_GEO_JP2, b"gml.data"))


# The UUID of the box that holds a GeoTIFF's tags in a JPEG2000 file.
_GEO_JP2 = bytes.fromhex("b14bf8bd083d4b43a5ae8cd7d5a6ce03")
# ModelPixelScale, ModelTiepoint, ModelTransformation, GeoKeyDirectory.
_GEO_TAGS = (33550, 33922, 34264, 34735)


def _geo_tags(name: str) -> bool:
    from PIL import TiffImagePlugin

    try:
        with open(name, "rb") as file:
            start = file.read(16)
            header = start[:8] if start[2:3] in (b"*", b"\0") and b"+" not in start[:4] else start
            tags = TiffImagePlugin.ImageFileDirectory_v2(header)
            file.seek(tags.next)
            tags.load(file)
    except Exception:  # Pillow raises whatever comes on headers that are damaged
        return False
    return any(tag in tags for tag in _GEO_TAGS)


def _window(window: Window) -> Any:
    windows = import_extra("rasterio.windows", "geo")
    x1, y1, x2, y2 = window
    return windows.Window(x1, y1, x2 - x1, y2 - y1)


def _length(path: str) -> int | None:
    return os.path.getsize(path) if os.path.exists(path) else None
