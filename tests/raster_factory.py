"""Small rasters that tests write with rasterio."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from rasterio.transform import Affine

UTM = {"crs": "EPSG:32633", "transform": Affine(0.1, 0, 500_000, 0, -0.1, 5_000_000)}
NOWHERE = {"crs": None, "transform": None}


def write_raster(path: Path, samples: np.ndarray, mask: np.ndarray | None = None, **options: Any) -> Path:
    """A GeoTIFF (or what `driver` says) of samples (h, w, bands); 10 cm a pixel in UTM where nothing else is said."""
    height, width, count = samples.shape
    profile = {"driver": "GTiff", "width": width, "height": height, "count": count, "dtype": samples.dtype}
    colors = options.pop("colors", None)
    palette = options.pop("palette", None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with rasterio.open(path, "w", **(profile | UTM | options)) as file:
            if colors is not None:
                file.colorinterp = [rasterio.enums.ColorInterp[name] for name in colors]
            file.write(np.moveaxis(samples, 2, 0))
            if palette is not None:
                file.write_colormap(1, palette)
            if mask is not None:
                file.write_mask(mask)
    return path


def noise(height: int, width: int, bands: int = 3, dtype: Any = np.uint8, top: int = 255, seed: int = 0) -> np.ndarray:
    """Random samples (h, w, bands) from 1 to `top`."""
    return np.random.default_rng(seed).integers(1, top, (height, width, bands)).astype(dtype)
