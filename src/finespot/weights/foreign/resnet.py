"""The tensors of a plain ResNet as torchvision and mmdetection name them (`conv1`, `layer1.0.conv1`, ...)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from torch import Tensor, nn

from finespot.nn.backbones.resnet import BLOCKS, Bottleneck, ResNet
from finespot.weights.foreign.layout import Entry, split_conv

_CONVOLUTIONS = ("reduce", "spatial", "expand")


def resnet_entries(backbone: ResNet, key: str, name: str) -> Iterator[Entry]:
    """The tensors of `backbone` (at `name`) under the file's `key`, in the file's order; without the classifier."""
    yield from split_conv(f"{key}.conv1", f"{key}.bn1", f"{name}.stem")
    for stage, blocks in backbone.named_children():
        if not isinstance(blocks, nn.Sequential):
            continue
        layer = f"{key}.layer{int(stage.removeprefix('stage')) - 1}"
        for i, block in enumerate(blocks):
            for j, part in enumerate(_CONVOLUTIONS, start=1):
                yield from split_conv(f"{layer}.{i}.conv{j}", f"{layer}.{i}.bn{j}", f"{name}.{stage}.{i}.{part}")
            if isinstance(block, Bottleneck) and not isinstance(block.shortcut, nn.Identity):
                side = f"{layer}.{i}.downsample"
                yield from split_conv(f"{side}.0", f"{side}.1", f"{name}.{stage}.{i}.shortcut")


def resnet_depth(state: Mapping[str, Tensor], key: str) -> int | None:
    """The depth of the bottleneck ResNet under `key`, or None where there is none."""
    blocks = tuple(
        len({name.split(".")[-3] for name in state if name.startswith(f"{key}.layer{layer}.") and ".conv3." in name})
        for layer in (1, 2, 3, 4)
    )
    return next((depth for depth, counts in BLOCKS.items() if counts == blocks), None)
