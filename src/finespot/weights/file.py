"""The weight file: safetensors with our own tensor names and a `Card` under the metadata key `finespot`.

Loading builds the network from the card and copies numbers into it; nothing in the file is executed, and a module that
the card names (`neck="my_parts:Neck"`) is imported only where the caller says so. Stored halves
(fp16) are taken for convolution and matrix weights only: one-dimensional tensors (biases, batch norm statistics,
which reach from 1e-9 to beyond fp16's 65504) are a hundredth of the file and stay as they are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes
from torch import Tensor

from finespot import zoo
from finespot.errors import FineSpotError, nearest
from finespot.nn.backbones import nothing_fetched
from finespot.weights.card import Card
from finespot.weights.catalog import resolve
from finespot.writers import write_atomic

if TYPE_CHECKING:
    from finespot.structures import Architecture
    from finespot.zoo import Detector

KEY = "finespot"
# What can be done with the weights of another toolkit.
_FOREIGN = "finespot weights import FILE OUT.safetensors takes over checkpoints of other toolkits"
_HALF_MAX = float(torch.finfo(torch.float16).max)


def save(path: str | Path, detector: Detector, card: Card, half: bool = True) -> Path:
    """Write a detector with its card, in one step: a failure keeps the file that stood there.

    Levels of its head that are off are noted on the card in the file, and off again where the file is loaded.

    Parameters
    ----------
    half:
        Store weights of two and more dimensions as fp16; those with a value beyond its range stay float32.

    Raises
    ------
    FineSpotError
        The card does not describe this detector, a tensor holds NaN or infinity, or the file cannot be written.
    """
    card.check()
    # Compared as JSON: a tuple among the options comes back as a list, which is no difference.
    if msgspec.json.encode(card.architecture) != msgspec.json.encode(detector.architecture):
        raise FineSpotError("expected the card of this detector but got another architecture", where=path)
    card = msgspec.structs.replace(card, levels_off=detector.levels_off)
    return write(path, detector.network_state(), card.to_json(), half)


def write(path: str | Path, state: Mapping[str, Tensor], description: str, half: bool) -> Path:
    """Write tensors with FineSpot's description of them; see `save`."""
    tensors = {}
    for name, tensor in state.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise FineSpotError(f"the tensor '{name}' holds NaN or infinity; nothing was written", where=path)
        # A copy of its own in plain layout: safetensors refuses shared memory and channels-last strides.
        kind = _stored_type(tensor, half)
        tensors[name] = tensor.detach().to("cpu", kind, copy=True).contiguous().clone()
    return write_atomic(path, to_bytes(tensors, {KEY: description}))


def load(name_or_path: str | Path, *, own_parts: bool = False) -> tuple[Detector, Card]:
    """Build the network that a weight file describes and fill it: float32, on the CPU, in evaluation mode.

    Parameters
    ----------
    own_parts:
        Import the modules outside FineSpot that the file names as parts of its network, which runs their code.

    Raises
    ------
    FineSpotError
        No such file; not a safetensors file or a broken one; no FineSpot description in it; written by a newer
        version; tensors that do not fit the network; parts outside FineSpot without `own_parts`.
    """
    path = resolve(name_or_path)
    tensors, card = read_tensors(path)
    if not own_parts:
        refuse_own_parts(path, card)
    detector = build(path, card.architecture)
    check_fit(path, detector.network_state(), tensors)
    with naming(path):
        detector.switch_off(card.levels_off)
    detector.load_state_dict(tensors, strict=False)  # all that it takes is there: a loss has nothing to load
    return detector.eval(), card


def build(path: Path, architecture: Architecture) -> Detector:
    """The network, freshly initialized, of an architecture that comes from a weight file; errors name the file."""
    try:
        with naming(path), nothing_fetched():
            return zoo.build(architecture)
    except (TypeError, ValueError, KeyError) as error:
        raise FineSpotError(f"the architecture it describes cannot be built ({error})", where=path) from error


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Around what a weight file describes: errors about it name the file."""
    try:
        yield
    except FineSpotError as error:
        what = error.what if error.where is None else f"{error.where}: {error.what}"
        raise FineSpotError(what, where=path, hint=error.hint) from error


def refuse_own_parts(path: Path, card: Card) -> None:
    """Raise `FineSpotError` where building the card's network would import a module outside FineSpot."""
    named = card.own_parts()
    if named:
        raise FineSpotError(
            f"its network is made with {', '.join(named)}, and loading it would run that code",
            where=path,
            hint="if the code is yours, give --own-parts (in Python own_parts=True)",
        )


def read_card(name_or_path: str | Path) -> Card:
    """The card of a weight file, without its tensors."""
    return _with_card(resolve(name_or_path), tensors=False)[1]


def read_tensors(path: Path) -> tuple[dict[str, Tensor], Card]:
    """All tensors of a weight file by name, floating ones as float32, and its card."""
    return _with_card(path, tensors=True)


def _with_card(path: Path, tensors: bool) -> tuple[dict[str, Tensor], Card]:
    found, description = read(path, tensors)
    with naming(path):
        return found, Card.from_json(description)


def read(path: Path, tensors: bool) -> tuple[dict[str, Tensor], str]:
    """The tensors (where wanted; floating ones as float32) and FineSpot's description of them.

    Raises
    ------
    FineSpotError
        Not a safetensors file, a broken one, or one without a description.
    """
    found: dict[str, Tensor] = {}
    try:
        with safe_open(str(path), framework="pt") as file:
            metadata = file.metadata() or {}
            if KEY in metadata and tensors:
                for name in file.keys():  # noqa: SIM118 (the handle is no mapping)
                    tensor = file.get_tensor(name)
                    # A copy in any case: the handle maps the file, and the file may be replaced under it.
                    kind = torch.float32 if tensor.is_floating_point() else tensor.dtype
                    found[name] = tensor.to(kind, copy=True)
    except (SafetensorError, OSError, ValueError, RuntimeError) as error:
        raise FineSpotError(
            f"not a readable safetensors file ({error})",
            where=path,
            hint=f"it may be cut off; {_FOREIGN}",
        ) from error
    if KEY not in metadata:
        raise FineSpotError(
            "a safetensors file without FineSpot's description",
            where=path,
            hint=_FOREIGN,
        )
    return found, metadata[KEY]


def check_fit(path: Path, state: Mapping[str, Tensor], tensors: Mapping[str, Tensor]) -> None:
    """Raise `FineSpotError` unless tensors of a file are a network's in name, shape and kind, and finite."""
    absent, extra = sorted(set(state) - set(tensors)), sorted(set(tensors) - set(state))
    if absent:
        count = f"{len(absent)} of {len(state)} tensors are absent, first '{absent[0]}'"
        near = nearest(absent[0], extra, 1) if extra else []
        raise FineSpotError(count, where=path, hint=f"the file holds '{near[0]}' instead" if near else None)
    if extra:
        raise FineSpotError(f"{len(extra)} tensors have no place in the network, first '{extra[0]}'", where=path)
    for name, tensor in tensors.items():
        wanted = state[name]
        if tensor.shape != wanted.shape:
            raise FineSpotError(
                f"expected shape {tuple(wanted.shape)} for '{name}' but got {tuple(tensor.shape)}", where=path
            )
        if tensor.is_floating_point() != wanted.is_floating_point():
            raise FineSpotError(f"expected {wanted.dtype} for '{name}' but got {tensor.dtype}", where=path)
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise FineSpotError(f"the tensor '{name}' holds NaN or infinity", where=path)


def _stored_type(tensor: Tensor, half: bool) -> torch.dtype:
    if not (half and tensor.is_floating_point() and tensor.ndim >= 2):
        return tensor.dtype
    largest = float(tensor.abs().amax()) if tensor.numel() else 0.0
    return torch.float16 if largest <= _HALF_MAX else torch.float32
