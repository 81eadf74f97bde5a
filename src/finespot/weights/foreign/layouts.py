"""The namings of other toolkits that FineSpot reads and writes, each with what its weights expect of a picture."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from torch import Tensor

from finespot.structures import Architecture, Normalization
from finespot.weights.foreign import yolo
from finespot.weights.foreign.layout import Entry


@dataclass(frozen=True)
class Layout:
    """A naming of the tensors of some families.

    Attributes
    ----------
    families:
        Which of ours it can name.
    recognize:
        The network that a state dict belongs to, from keys and shapes; None where the naming is another.
    entries:
        All tensors of the file in its order.
    normalization, fit, imgsz:
        What the weights learnt with (`fit` as in `Card`).
    constants:
        Tensors that the file has beside the weights, made from the architecture, for writing it.
    prepare:
        Changes a state dict before all else (other releases of the same naming).
    """

    name: str
    families: tuple[str, ...]
    recognize: Callable[[Mapping[str, Tensor]], Architecture | None]
    entries: Callable[[Architecture], Iterable[Entry]]
    normalization: Normalization = field(default_factory=Normalization)
    fit: str = "center"
    imgsz: Callable[[Architecture], int] = lambda architecture: 640
    constants: Callable[[Architecture], dict[str, Tensor]] = lambda architecture: {}
    prepare: Callable[[Mapping[str, Tensor]], Mapping[str, Tensor]] = lambda state: state


LAYOUTS = (Layout("ultralytics", yolo.FAMILIES, yolo.recognize, yolo.entries),)
