"""Any backbone of the package timm that gives maps of several strides (extra `timm`).

timm itself needs torchvision, which is never imported here otherwise. Batch norm inside of its networks stays as it is
when a detector is fused.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from finespot.errors import FineSpotError, import_extra, unknown
from finespot.registry import register
from finespot.structures import Features, Level

_fetching: ContextVar[bool] = ContextVar("fetching", default=True)


@register("backbone", "timm")
class TimmBackbone(nn.Module):
    """Pictures (B, 3, H, W) to `Features` of timm's network `name` at `strides` (of several maps of one, the deepest).

    With `pretrained` it starts from timm's weights, which timm fetches. Most of them want pictures normalized by
    ImageNet's mean and deviation; of the families here RetinaNet normalizes so, YOLO11 does not.

    Raises
    ------
    FineSpotError
        timm is not installed or cannot be imported, has no such network, or the network lacks a stride or takes
        pictures of one size only.
    """

    def __init__(self, name: str, pretrained: bool = False, strides: Sequence[int] = (8, 16, 32)) -> None:
        super().__init__()
        timm = _import()
        if not timm.is_model(name.partition(".")[0]):
            raise unknown("network of timm", name, timm.list_models())
        # Weights of a file, or none at all, will be put in: nothing is to be fetched.
        fetch = pretrained and _fetching.get() and torch.get_default_device().type != "meta"
        try:
            known = timm.models.get_pretrained_cfg(name)
            if getattr(known, "fixed_input_size", False):
                raise FineSpotError(
                    f"timm's '{name}' takes pictures of one size only ({known.input_size[1]} x {known.input_size[2]})",
                    where="timm backbone",
                    hint="choose a convolutional network, such as resnet18 or convnext_tiny",
                )
            self.model: Any = timm.create_model(name, features_only=True, pretrained=fetch)
        except (RuntimeError, ValueError, AttributeError, OSError) as error:
            raise FineSpotError(f"timm cannot make '{name}' as a backbone ({error})", where="timm backbone") from error
        info = self.model.feature_info
        places = {int(stride): i for i, stride in enumerate(info.reduction())}
        lacking = [stride for stride in strides if stride not in places]
        if lacking:
            raise FineSpotError(
                f"expected maps of strides {', '.join(map(str, strides))} but timm's '{name}' has "
                f"{', '.join(map(str, places))}",
                where="timm backbone",
            )
        self.places = [places[stride] for stride in strides]
        self.levels = tuple(Level(int(info.channels()[i]), stride) for i, stride in zip(self.places, strides))

    def forward(self, images: Tensor) -> Features:
        maps = self.model(images)
        # Some networks of timm keep the channels last.
        turned = str(getattr(self.model, "output_fmt", "NCHW")).endswith("NHWC")
        return Features([maps[i].permute(0, 3, 1, 2) if turned else maps[i] for i in self.places], self.levels)


@contextmanager
def nothing_fetched() -> Iterator[None]:
    """Within, networks are built without timm's weights, `pretrained` or not: a file's will be put in."""
    before = _fetching.set(False)
    try:
        yield
    finally:
        _fetching.reset(before)


def _import() -> ModuleType:
    try:
        return import_extra("timm", "timm")
    except FineSpotError as error:
        cause = error.__cause__
        if isinstance(cause, ImportError) and cause.name == "torchvision":
            raise _torchvision(cause) from cause
        raise
    except RuntimeError as error:  # what a torchvision built for another torch raises
        raise _torchvision(error) from error


def _torchvision(cause: Exception) -> FineSpotError:
    return FineSpotError(
        f"timm needs a torchvision that fits torch {torch.__version__} ({cause})",
        where="timm backbone",
        hint="install torchvision from the same index as torch",
    )
