"""State dicts of RTMDet in the two namings of its files, mmdetection's and mmyolo's, to ours and back.

Keys and shapes are facts of the published files; the toolkits differ in the names of neck and head only (see
`mmdetection_rtmdet` and `mmyolo_rtmdet`). Besides names two things change: the files read BGR, ours RGB; and they hold
the head's kernels once a level, with equal values, ours once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import cast

import torch
from torch import Tensor, nn

from finespot.errors import FineSpotError
from finespot.nn.backbones import CSPBackbone
from finespot.nn.heads import SharedConvHead
from finespot.nn.layers import SPPF, Conv, CrossStage
from finespot.nn.necks import LateralPAFPN
from finespot.structures import Architecture
from finespot.weights.foreign.layout import Entry, affine_entries, conv_entries, norm_entries, plain_network
from finespot.zoo.rtmdet import SIZES, has_exponents

_FLIPPED = torch.tensor([2, 1, 0])
_LEVELS = ("p3", "p4", "p5")


@dataclass(frozen=True)
class Naming:
    """One toolkit's names: those of the neck's parts (in the file's order) and ours, and the prefix of the head.

    `exp` says whether distances are exponents in all of its files; None: as the size's default is.
    """

    neck: Mapping[str, str]
    head: str
    exp: bool | None = None

    def recognize(self, state: Mapping[str, Tensor]) -> Architecture | None:
        """Which RTMDet a state dict of this naming is, or None where it is none.

        Raises
        ------
        FineSpotError
            The naming is this one, the network none of the table.
        """
        stem, scores = state.get("backbone.stem.2.conv.weight"), state.get(f"{self.head}.rtm_cls.0.weight")
        if stem is None or scores is None or f"neck.{next(iter(self.neck))}.conv.weight" not in state:
            return None
        width, first = stem.shape[0], "backbone.stage1.1.blocks."
        units = len({key.removeprefix(first).split(".")[0] for key in state if key.startswith(first)})
        for size, scale in SIZES.items():
            if (scale.channels(64), scale.repeats(3)) == (width, units):
                found = Architecture("rtmdet", size, scores.shape[0])
                usual = self.exp is None or self.exp == has_exponents(found)
                return found if usual else replace(found, options={"exp": self.exp})
        raise FineSpotError(
            f"expected an RTMDet of the sizes {', '.join(SIZES)} but got one of {width} channels behind the stem"
        )

    def entries(self, architecture: Architecture) -> Iterator[Entry]:
        """All tensors of the file, in its order.

        Raises
        ------
        FineSpotError
            The network has a P2 level or parts of its own, which no such file has.
        """
        detector = plain_network(
            architecture, "a released RTMDet", backbone=CSPBackbone, neck=LateralPAFPN, head=SharedConvHead, levels=3
        )
        backbone, neck, head = detector.backbone, detector.neck, cast(SharedConvHead, detector.head)
        for theirs, ours in (("stem", "stem"), *((f"stage{i}", f"stage{i + 1}") for i in range(1, 5))):
            for i, (part, module) in enumerate(cast(nn.Module, getattr(backbone, ours)).named_children()):
                columns = _FLIPPED if (theirs, i) == ("stem", 0) else None
                yield from _walk(module, f"backbone.{theirs}.{i}", f"backbone.{ours}.{part}", columns)
        for theirs, ours in self.neck.items():
            yield from _walk(neck.get_submodule(ours), f"neck.{theirs}", f"neck.{ours}")
        for theirs, ours in (("cls_convs", "class_branch"), ("reg_convs", "box_branch")):
            for number, level in enumerate(_LEVELS):
                for i in range(len(getattr(head, ours).convs)):
                    yield from _shared(f"{self.head}.{theirs}.{number}.{i}", f"head.{ours}", level, i)
        for theirs, ours in (("rtm_cls", "class_branch"), ("rtm_reg", "box_branch")):
            for number, level in enumerate(_LEVELS):
                yield from affine_entries(f"{self.head}.{theirs}.{number}", f"head.{ours}.predict.{level}")


def _shared(key: str, name: str, level: str, number: int) -> Iterator[Entry]:
    """A convolution of the head: its kernel is one of ours for all levels, its norm the level's."""
    yield Entry(f"{key}.conv.weight", (f"{name}.convs.{number}.weight",))
    yield from norm_entries(f"{key}.bn", f"{name}.norms.{level}.{number}")


def _walk(module: nn.Module, key: str, name: str, columns: Tensor | None = None) -> Iterator[Entry]:
    """Tensors of one of our modules (at `name`), under the file's `key`, in the file's order."""
    if isinstance(module, Conv):
        yield from conv_entries(key, (name,), columns=columns)
    elif isinstance(module, SPPF):
        for theirs, ours in {"conv1": "entry", "conv2": "exit"}.items():
            yield from conv_entries(f"{key}.{theirs}", (f"{name}.{ours}",))
    elif isinstance(module, CrossStage):
        parts = {"main_conv": "entry.branches.0", "short_conv": "entry.branches.1", "final_conv": "exit"}
        for theirs, ours in parts.items():
            yield from conv_entries(f"{key}.{theirs}", (f"{name}.{ours}",))
        for i in range(len(module.chain)):
            unit, ours = f"{key}.blocks.{i}", f"{name}.chain.{i}"
            yield from conv_entries(f"{unit}.conv1", (f"{ours}.first",))
            yield from conv_entries(f"{unit}.conv2.depthwise_conv", (f"{ours}.second.spatial",))
            yield from conv_entries(f"{unit}.conv2.pointwise_conv", (f"{ours}.second.mix",))
        if module.attention is not None:
            yield from affine_entries(f"{key}.attention.fc", f"{name}.attention.weigh")
