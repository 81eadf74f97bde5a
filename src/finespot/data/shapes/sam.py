"""Masks by the Segment Anything Model (Kirillov et al., Segment Anything, ICCV 2023), through transformers.

Asked for one mask a box, as the paper does for prompts that leave no doubt. Large pictures are cut into equal parts
without overlap, so that small objects keep their pixels; an object on a seam is asked for in each part that shows it.
Differs from the usual postprocessing, which enlarges every mask to the whole picture, twice: the logits are looked up
by linear interpolation at the pixels of the box alone.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from finespot.data.painting import whole_pixels
from finespot.errors import FineSpotError, import_extra
from finespot.structures import Boxes, Size, Window

# The side of the model's own input: larger parts would be shrunk.
PART_PX = 1024
# Boxes asked for at once: each takes some megabytes inside the model.
PROMPTS = 32


def model_folder(model: str) -> str | None:
    """The full path of a model that is a folder, None for a name on the hub.

    Raises
    ------
    FineSpotError
        It is written like a path, but there is no such folder.
    """
    path = os.path.abspath(os.path.expanduser(model))
    if os.path.isdir(path):
        return path
    if model.startswith((".", "~", os.sep)) or "\\" in model or model.count("/") > 1 or os.path.exists(path):
        raise FineSpotError("expected a folder with a model's files but there is none", where=model)
    return None


def model_name(model: str) -> str:
    """What a model is called in the files that it makes: its name on the hub, or the last part of its folder's path."""
    folder = model_folder(model)
    return model if folder is None else os.path.basename(folder)


class Sam:
    """SAM as a segmenter.

    Parameters
    ----------
    model:
        A folder with the model's files, or its name on the Hugging Face hub (`facebook/sam-vit-base`), from which it
        is then downloaded where it is not in the cache. A folder is never looked for on the hub.
    device:
        Where it computes, as torch names it.

    Raises
    ------
    FineSpotError
        transformers is not installed, or the model cannot be loaded or is none of SAM.
    """

    def __init__(self, model: str, device: str = "cpu") -> None:
        transformers = import_extra("transformers", "sam")
        folder = model_folder(model)
        where, local = folder or model, folder is not None
        self.name = model_name(model)
        self.device = torch.device(device)
        try:
            kind = transformers.SamConfig.get_config_dict(where, local_files_only=local)[0].get("model_type")
            if kind != "sam":
                got = f"'{kind}'" if kind else "no config.json that names one"
                raise FineSpotError(f"expected a model of the kind 'sam' but got {got}", where=model)
            self._processor: Any = transformers.SamProcessor.from_pretrained(where, local_files_only=local)
            network, report = transformers.SamModel.from_pretrained(
                where, local_files_only=local, use_safetensors=True, output_loading_info=True
            )
        except FineSpotError:
            raise
        except Exception as error:  # whatever the library raises: files, network, JSON, shapes of tensors
            raise FineSpotError(
                f"the model cannot be loaded ({_first_line(error)})",
                where=model,
                hint="expected a folder with config.json, processor files and model.safetensors" if local else None,
            ) from error
        if report["missing_keys"]:
            lacking = len(report["missing_keys"])
            raise FineSpotError(f"the model's file lacks {lacking} of its tensors", where=model, hint="copy it again")
        self._network: Any = network.to(self.device).float().eval()

    @torch.inference_mode()
    def __call__(self, pixels: NDArray[np.uint8], boxes: Boxes) -> list[NDArray[np.bool_]]:
        """The masks of the objects in boxes (n, 4), of the pixels that each touches."""
        size = (pixels.shape[0], pixels.shape[1])
        windows = whole_pixels(boxes, size)
        masks = [np.zeros((y2 - y1, x2 - x1), np.bool_) for x1, y1, x2, y2 in windows]
        for part in parts(size):
            x1, y1, x2, y2 = part
            shown = np.clip(boxes - np.array([x1, y1, x1, y1]), 0, np.array([x2 - x1, y2 - y1] * 2))
            rows = np.flatnonzero((shown[:, 2:] > shown[:, :2]).all(axis=1))
            if not len(rows):
                continue
            for row, (px1, py1, px2, py2), mask in zip(rows, *self._part(pixels[y1:y2, x1:x2], shown[rows])):
                left, top = x1 - windows[row][0], y1 - windows[row][1]
                masks[row][top + py1 : top + py2, left + px1 : left + px2] = mask
        return masks

    def _part(
        self, pixels: NDArray[np.uint8], boxes: NDArray[np.floating[Any]]
    ) -> tuple[list[Window], Iterator[NDArray[np.bool_]]]:
        """For each box the pixels that it touches, and the mask there."""
        size = (pixels.shape[0], pixels.shape[1])
        windows = whole_pixels(boxes.astype(np.float32), size)
        inputs = self._processor(images=pixels, input_boxes=[boxes.tolist()], return_tensors="pt")
        return windows, self._masks(inputs, size, windows)

    def _masks(self, inputs: Any, size: Size, windows: list[Window]) -> Iterator[NDArray[np.bool_]]:
        picture = inputs["pixel_values"].to(self.device)
        prompts = inputs["input_boxes"].float().to(self.device)
        seen = self._network.get_image_embeddings(picture)
        # From pixels of the part to pixels of the logits, along (y, x); both cover the padded input.
        scale = inputs["reshaped_input_sizes"][0].numpy() / np.array(size) / picture.shape[-1]
        for start in range(0, len(windows), PROMPTS):
            some = prompts[:, start : start + PROMPTS]
            found = self._network(image_embeddings=seen, input_boxes=some, multimask_output=False)
            logits = found.pred_masks[0, :, 0].float().cpu().numpy()
            for window, one in zip(windows[start : start + PROMPTS], logits):
                yield _looked_up(one, window, (scale[0] * one.shape[0], scale[1] * one.shape[1])) > 0


def parts(size: Size, side: int = PART_PX) -> list[Window]:
    """A picture of `size` cut into as few equal parts of at most `side` pixels as possible, row by row."""
    rows, columns = (_spans(length, side) for length in size)
    return [(x1, y1, x2, y2) for y1, y2 in rows for x1, x2 in columns]


def _spans(length: int, side: int) -> list[tuple[int, int]]:
    count = -(-length // side)
    edges = [length * number // count for number in range(count + 1)]
    return list(pairwise(edges))


def _looked_up(logits: NDArray[np.float32], window: Window, scale: tuple[float, float]) -> NDArray[np.float32]:
    """The values of a map at the centers of a window's pixels, linear in between; `scale` is map by picture, (y, x)."""
    x1, y1, x2, y2 = window
    for axis, (start, end) in enumerate(((y1, y2), (x1, x2))):
        length = logits.shape[axis]
        at = np.clip((np.arange(start, end) + 0.5) * scale[axis] - 0.5, 0, length - 1)
        low = np.floor(at).astype(int)
        share = (at - low).astype(np.float32)
        share = share[:, None] if axis == 0 else share
        lower, upper = logits.take(low, axis), logits.take(np.minimum(low + 1, length - 1), axis)
        logits = lower * (1 - share) + upper * share
    return logits


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), "") or type(error).__name__
