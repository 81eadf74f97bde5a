"""Pictures and video frames: open, decode, bring to eight bits and three channels, resize, place in a network input."""

from finespot.images.decode import EXTENSIONS, crop, exif_orientation, find_images, from_pillow, open_image
from finespot.images.georeference import GeoReference
from finespot.images.letterbox import PADDING, fit_size, letterbox
from finespot.images.raster import Raster, is_georeferenced
from finespot.images.raster_view import RasterView, Stretch, stretch_of
from finespot.images.resize import reduce, resample, resize, to_rgb8, to_uint8
from finespot.images.video import Video, VideoWriter, open_video

__all__ = [
    "EXTENSIONS",
    "PADDING",
    "GeoReference",
    "Raster",
    "RasterView",
    "Stretch",
    "Video",
    "VideoWriter",
    "crop",
    "exif_orientation",
    "find_images",
    "fit_size",
    "from_pillow",
    "is_georeferenced",
    "letterbox",
    "open_image",
    "open_video",
    "reduce",
    "resample",
    "resize",
    "stretch_of",
    "to_rgb8",
    "to_uint8",
]
