"""The head of RTMDet (2022, section 3.2): one set of 3x3 kernels for all levels, batch norms of each level's own.

Two convolutions lead to the class logits, two others to the box; levels differ in the statistics of what they see, so
norms and 1x1 predictions are apart. What differs from the original: the parts of a level are named after it (`p3` is
stride 8), so that networks with other levels can take them over; levels can be switched off; and boxes without `exp`
start one stride wide to each side, as those with `exp` do, where the original starts at 0 with half of its corners
swapped.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn

from finespot.errors import FineSpotError
from finespot.nn.heads.dense import PRIOR, DenseHead, Raw
from finespot.nn.heads.later import ConvBranch, waiting
from finespot.nn.heads.points import rows_of
from finespot.nn.heads.rtmdet_loss import RTMDetLoss, decode
from finespot.nn.layers.conv import TORCH_NORM, Norm, Pointwise, Swish
from finespot.registry import register
from finespot.structures import Features, Level, Targets

_DEVIATION = 0.01
_DEPTH = 2


class SharedBranch(nn.Module):
    """3x3 convolutions for maps of all levels, with a batch norm a level, and a 1x1 prediction a level.

    Batch norm cannot be folded into a kernel that several levels share, so fusing leaves it.
    """

    def __init__(self, c_in: int, width: int, c_out: int, names: Sequence[str], norm: Norm) -> None:
        super().__init__()
        inputs = [c_in] + [width] * (_DEPTH - 1)
        self.convs = nn.ModuleList([nn.Conv2d(c, width, 3, padding=1, bias=False) for c in inputs])
        self.norms = nn.ModuleDict(
            {name: nn.ModuleList([nn.BatchNorm2d(width, norm.eps, norm.momentum) for _ in inputs]) for name in names}
        )
        self.predict = nn.ModuleDict({name: Pointwise(width, c_out, 1) for name in names})
        self.act = Swish()

    def forward(self, name: str, x: Tensor) -> Tensor:
        """The map of the level `name` to its prediction."""
        return self.of_level(name).whole(x)

    def of_level(self, name: str) -> ConvBranch:
        """What runs on the level `name`."""
        norms = cast(Iterable[nn.Module], self.norms[name])
        steps = [(cast(nn.Conv2d, conv), nn.Sequential(norm, self.act)) for conv, norm in zip(self.convs, norms)]
        return ConvBranch(steps, cast(nn.Conv2d, self.predict[name]))


@register("head", "shared_conv")
class SharedConvHead(DenseHead):
    """`Features` of `levels`, all of one width, to raw predictions at N = sum of H * W points, fine to coarse.

    Raw: "boxes" (B, 4, N) left, top, right, bottom as `rtmdet_loss.decode` reads them; "scores" (B, classes, N)
    logits; "anchors" (1, N, 3) x, y of the cell's top left corner and stride in input pixels. `exp` makes distances
    exponents; the branches have `width` channels (None: the levels').
    """

    offset: ClassVar[float] = 0.0

    def __init__(
        self,
        levels: Sequence[Level],
        classes: int,
        *,
        exp: bool = False,
        width: int | None = None,
        norm: Norm = TORCH_NORM,
    ) -> None:
        super().__init__(levels, classes)
        channels = {level.channels for level in levels}
        if len(channels) > 1:
            raise FineSpotError(
                f"expected levels of one width but got {', '.join(str(c) for c in sorted(channels))} channels",
                where="shared_conv head",
                hint="give the neck an out_width",
            )
        self.exp = exp
        c_in = levels[0].channels
        self.class_branch = SharedBranch(c_in, width or c_in, classes, self.level_names, norm)
        self.box_branch = SharedBranch(c_in, width or c_in, 4, self.level_names, norm)
        self.set_loss()
        self._start()

    def forward(self, features: Features, targets: Targets | None = None) -> Raw:
        on = self.on(features)
        if waiting():
            boxes = self.maps_for_later(on)
        else:
            boxes = {"boxes": rows_of([self.box_branch(name, x) for name, x in on])}
        return {
            **boxes,
            "scores": rows_of([self.class_branch(name, x) for name, x in on]),
            "anchors": self.anchors([x for _, x in on]),
        }

    def box_steps(self, name: str) -> ConvBranch:
        """See `DenseHead`."""
        return self.box_branch.of_level(name)

    def criterion_of(self, **choice: Any) -> RTMDetLoss:
        """`RTMDetLoss`."""
        return RTMDetLoss(self.exp, **choice)

    def decode(self, values: Tensor, anchors: Tensor) -> Tensor:
        """See `rtmdet_loss.decode`; swapped corners are put in order, for boxes must have sides of 0 or more."""
        corners = decode(values, anchors, self.exp)
        one, other = corners[..., :2], corners[..., 2:]
        return torch.cat((torch.minimum(one, other), torch.maximum(one, other)), -1)

    def class_rows(self) -> list[str]:
        """Names of the parameters whose first dimension is the classes."""
        return [f"class_branch.predict.{name}.{part}" for name in self.level_names for part in ("weight", "bias")]

    def _start(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.normal_(module.weight, std=_DEVIATION)
        for name in self.level_names:
            nn.init.constant_(cast(Any, self.class_branch.predict[name]).bias, PRIOR)
            nn.init.constant_(cast(Any, self.box_branch.predict[name]).bias, 0.0 if self.exp else 1.0)
