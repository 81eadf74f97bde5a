"""Start a network from the weights of another: other classes, another number of them, or another architecture.

Tensors are matched by name and shape. The head's last layers have a row a class: these are matched by class name,
so that "car" starts from "car" wherever it stands in either list. A head with several anchors a cell has all classes of
one anchor, then those of the next.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from finespot import zoo
from finespot.errors import FineSpotError, some
from finespot.structures import Classes
from finespot.weights.catalog import resolve
from finespot.weights.file import read_tensors

if TYPE_CHECKING:
    from finespot.zoo import Detector


@dataclass(frozen=True)
class TransferReport:
    """What a network took over.

    Attributes
    ----------
    source, data_licence:
        The weight file, and the licence of the data that it learned from.
    share:
        Share of the network's parameters that were taken over, 0 to 1.
    matched, mismatched, new, unused:
        Tensor names: taken over; present but of another shape; not in the file; only in the file.
    classes_matched, classes_partial, classes_new, classes_unused:
        Class names whose rows were all taken over; of whose rows some were, the others being of another width or not
        in the file; that start anew; that only the file knows.
    class_rows:
        Name, label in the file and label here of each class whose rows were taken over, all or some.
    untrained:
        Levels that were off when the file was saved, whose branches were taken over as they began.
    """

    source: str
    data_licence: str
    share: float
    matched: tuple[str, ...]
    mismatched: tuple[str, ...]
    new: tuple[str, ...]
    unused: tuple[str, ...]
    classes_matched: tuple[str, ...]
    classes_partial: tuple[str, ...]
    classes_new: tuple[str, ...]
    classes_unused: tuple[str, ...]
    class_rows: tuple[tuple[str, int, int], ...] = ()
    untrained: tuple[str, ...] = ()

    def summary(self) -> str:
        """One line to print."""
        parts = [f"{100 * self.share:.1f} % of the parameters taken from {self.source}"]
        parts.append(f"{len(self.matched)} tensors fit")
        if self.mismatched:
            parts.append(f"{len(self.mismatched)} have another shape")
        if self.new:
            parts.append(f"{len(self.new)} are not in the file")
        if self.unused:
            parts.append(f"{len(self.unused)} of the file are not used")
        known = some(self.classes_matched) or "none"
        parts.append(f"classes taken over by name: {known}")
        if self.classes_partial:
            parts.append(f"classes taken over in part: {some(self.classes_partial)}")
        if self.classes_new:
            parts.append(f"classes that start anew: {some(self.classes_new)}")
        return "; ".join(parts)

    def by_part(self) -> list[str]:
        """A line for each part of the network (which of its tensors were taken), one for the rows of classes, and a
        warning where levels of the file had not learned.
        """
        lines = [line for part in ("backbone", "relay", "neck", "head") if (line := self._line(f"{part}."))]
        if self.class_rows:
            rows = [f"{name} {there} to {here}" for name, there, here in self.class_rows]
            lines.append(f"rows of classes taken: {some(rows)}")
        if self.untrained:
            off = ", ".join(self.untrained)
            lines.append(f"warning: in these weights {off} was off: what was taken of its branches has not learned")
        return lines

    def _line(self, prefix: str) -> str:
        taken, other, absent = (
            [name for name in names if name.startswith(prefix)] for names in (self.matched, self.mismatched, self.new)
        )
        total = len(taken) + len(other) + len(absent)
        if not total:
            return ""
        line = f"{prefix[:-1]}: {len(taken)} of {total} tensors taken"
        for why, names in (("of another shape", other), ("not in the file", absent)):
            line += f"; {why}: {some(names, 4)}" if names else ""
        return line


def transfer(detector: Detector, classes: Classes, source: str | Path) -> TransferReport:
    """Copy into `detector` what fits of the weight file `source`; what does not fit keeps its initialization.

    Parameters
    ----------
    detector:
        The network, changed in place. Its class rows belong to `classes`, in order.

    Raises
    ------
    FineSpotError
        The file cannot be read, or nothing in it fits.
    """
    path = resolve(source)
    tensors, card = read_tensors(path)
    state = detector.network_state()
    by_class = set(_class_tensors(detector)) & state.keys()
    repeats: int = getattr(detector.head, "class_repeats", 1)
    pairs = [(label, card.classes.index(name)) for label, name in enumerate(classes) if name in card.classes.names]
    matched: list[str] = []
    mismatched: list[str] = []
    new: list[str] = []
    taken = 0
    parameters = {name: p.numel() for name, p in detector.named_parameters()}
    for name, tensor in state.items():
        given = tensors.get(name)
        if given is None:
            new.append(name)
        elif name in by_class and _fits(tensor, given, repeats, len(classes), len(card.classes)):
            taken += _copy_rows(tensor, given, repeats, pairs)
            (matched if pairs else mismatched).append(name)
        elif given.shape == tensor.shape and name not in by_class:
            tensor.copy_(given)
            taken += parameters.get(name, 0)
            matched.append(name)
        else:
            mismatched.append(name)
    share = taken / max(1, sum(parameters.values()))
    # What any two networks share by chance (the head's 16 bins) rounds to 0.0 %.
    if share < 0.0005:
        raise FineSpotError(
            f"nothing in it fits this network ({len(tensors)} tensors against {len(state)}, 0 % of the parameters)",
            where=path,
            hint=f"it holds a {zoo.name_of(card.architecture)}: take weights of a related network",
        )
    known = {classes[label] for label, _ in pairs}
    copied = by_class & set(matched)
    # A tensor of rows goes over for all common classes or for none of them.
    whole = known if copied == by_class else set()
    begun = known if copied else set()
    return TransferReport(
        source=str(path),
        data_licence=card.data_licence,
        share=share,
        matched=tuple(matched),
        mismatched=tuple(mismatched),
        new=tuple(new),
        unused=tuple(name for name in tensors if name not in state),
        classes_matched=tuple(name for name in classes if name in whole),
        classes_partial=tuple(name for name in classes if name in begun - whole),
        classes_new=tuple(name for name in classes if name not in begun),
        classes_unused=tuple(name for name in card.classes if name not in known),
        class_rows=tuple((classes[label], other, label) for label, other in pairs) if copied else (),
        untrained=tuple(level for level in card.levels_off if any(f".{level}." in name for name in matched)),
    )


def _class_tensors(detector: Detector) -> list[str]:
    """Names of tensors whose first dimension is the classes, as the head says."""
    head: Any = detector.head
    return [f"head.{name}" for name in head.class_rows()]


def _fits(tensor: Tensor, given: Tensor, repeats: int, classes: int, known: int) -> bool:
    """Whether rows of the file's tensor have a place in ours: of several anchors, both hold each class as often."""
    rows = repeats == 1 or (len(tensor), len(given)) == (repeats * classes, repeats * known)
    return rows and given.shape[1:] == tensor.shape[1:]


@torch.no_grad()
def _copy_rows(tensor: Tensor, given: Tensor, repeats: int, pairs: list[tuple[int, int]]) -> int:
    """Copy the rows of common classes, in each of `repeats` parts; returns the numbers copied."""
    own, theirs = len(tensor) // repeats, len(given) // repeats
    for part in range(repeats):
        for label, other in pairs:
            tensor[part * own + label].copy_(given[part * theirs + other])
    return repeats * len(pairs) * (tensor[0].numel() if len(tensor) else 0)
