"""Box losses as a person types them: `ciou`, `nwd(constant=16)`, `ciou*0.5 + nwd*0.5`.

A term is a registered name or a dotted path, with options in parentheses and a factor behind or in front. Terms add
up. Which loss is worth what is the user's choice; factors are not brought to a sum of 1.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from finespot import registry
from finespot.errors import FineSpotError, unknown
from finespot.losses.overlap import BoxLoss
from finespot.losses.pairs import cost_of_pairs
from finespot.structures import Size


class Blend(nn.Module):
    """Weighted sum of box losses. Those with buffers are its parts `terms.0`, `terms.1` ..."""

    def __init__(self, terms: Iterable[tuple[BoxLoss, float]]) -> None:
        super().__init__()
        losses, factors = zip(*terms, strict=True)
        self.terms = nn.ModuleList(loss if isinstance(loss, nn.Module) else _Stateless(loss) for loss in losses)
        self.factors: tuple[float, ...] = factors

    def forward(
        self, pred: Tensor, target: Tensor, *, stride: Tensor, image_size: Size, picture: Tensor | None = None
    ) -> Tensor:
        values = [
            cost_of_pairs(loss, pred, target, stride=stride, image_size=image_size, picture=picture)
            for loss in self.terms
        ]
        return torch.stack([factor * value for factor, value in zip(self.factors, values)]).sum(0)


class _Stateless(nn.Module):
    def __init__(self, loss: BoxLoss) -> None:
        super().__init__()
        self.loss = loss

    def forward(
        self, pred: Tensor, target: Tensor, *, stride: Tensor, image_size: Size, picture: Tensor | None = None
    ) -> Tensor:
        return cost_of_pairs(self.loss, pred, target, stride=stride, image_size=image_size, picture=picture)


def box_loss(text: str) -> BoxLoss:
    """The box loss, or the blend of some, that `text` names.

    A dotted path to a function of boxes, `(pred, target, *, stride, image_size)`, means that function; any other is
    called with the options and makes the loss.

    Raises
    ------
    FineSpotError
        The text cannot be read; a name or an option is unknown; a value does not fit; a factor is not above 0.
    """
    terms = [_term(part.strip(), text) for part in _split(text, "+")]
    if len(terms) == 1 and terms[0][1] == 1:
        return terms[0][0]
    return Blend(terms)


def _term(part: str, text: str) -> tuple[BoxLoss, float]:
    pieces = [piece.strip() for piece in _split(part, "*")]
    numbers = [_number(piece) for piece in pieces]
    given = [number for number in numbers if number is not None]
    if "" in pieces or len(pieces) > 2 or len(given) != len(pieces) - 1:
        raise FineSpotError(
            f"expected a box loss or 'loss*factor' but got '{part}'",
            where=None if part == text.strip() else f"box loss '{text}'",
            hint="for example ciou*0.5+nwd(constant=16)*0.5",
        )
    factor = given[0] if given else 1.0
    if not (0 < factor < math.inf):
        raise FineSpotError(
            f"expected a factor above 0 but got '{part}'", hint="leave the loss out if it is to count 0"
        )
    return _made(*registry.parse_call(pieces[numbers.index(None)])), factor


def _split(text: str, mark: str) -> list[str]:
    """The parts between marks that stand in no parentheses."""
    parts, depth = [""], 0
    for letter in text:
        depth += {"(": 1, ")": -1}.get(letter, 0)
        if depth < 0:
            break
        if letter == mark and depth == 0:
            parts.append("")
        else:
            parts[-1] += letter
    if depth:
        raise FineSpotError(f"the parentheses of the box loss '{text}' do not match")
    return parts


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _made(name: str, options: Mapping[str, Any]) -> BoxLoss:
    found = registry.lookup("box_loss", name)
    if ":" in name:
        if inspect.isclass(found) or not _takes_boxes(found):
            return registry.build("box_loss", name, **options)  # type: ignore[no-any-return]
        if options:
            raise FineSpotError(f"expected no options but got {', '.join(options)}", where=f"box loss '{name}'")
        return found
    where, known = f"box loss '{name}'", inspect.signature(found).parameters
    for option in options:
        if option not in known:
            raise unknown("option", option, known, where=where)
    registry.check_values(where, found, options)
    return found(**options)  # type: ignore[no-any-return]


def _takes_boxes(function: Callable[..., Any]) -> bool:
    try:
        inspect.signature(function).bind(None, None, stride=None, image_size=None)
    except TypeError:
        return False
    return True
