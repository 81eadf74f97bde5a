"""A checkpoint of another toolkit to a detector with its card, and back to that toolkit's names."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from finespot import zoo
from finespot.errors import FineSpotError, some, unknown
from finespot.structures import Architecture, Classes
from finespot.weights.card import LARGEST_SIDE, Card
from finespot.weights.file import load
from finespot.weights.foreign.archive import read_checkpoint
from finespot.weights.foreign.coco import COCO_80, COCO_COUNTED_TO, COCO_UNUSED
from finespot.weights.foreign.find import Context, find_state
from finespot.weights.foreign.layout import from_file, to_file
from finespot.weights.foreign.layouts import LAYOUTS, Layout


@dataclass(frozen=True)
class Imported:
    """What came of a foreign checkpoint.

    Attributes
    ----------
    detector, card:
        The network with its weights, and what its weight file will say.
    layout:
        The naming of the file.
    mapped, unused:
        Keys of the file whose values were taken over; those that have no place in the network.
    notes:
        What was decided, one line each.
    """

    detector: zoo.Detector
    card: Card
    layout: str
    mapped: tuple[str, ...]
    unused: tuple[str, ...]
    notes: tuple[str, ...]


def import_checkpoint(
    path: str | Path,
    *,
    names: Sequence[str] | None = None,
    layout: str | None = None,
    imgsz: int | None = None,
    options: Mapping[str, Any] | None = None,
) -> Imported:
    """Read a checkpoint of another toolkit; nothing in it is executed.

    Parameters
    ----------
    names:
        Class names in order; by default those that the file holds, else COCO's for 80 classes (and for 91, of which
        the 80 with a name are kept), else numbers.
    layout:
        The naming (see `LAYOUTS`), where it should not be recognized.
    imgsz:
        The input size that the weight file will say; by default what the file says, else the toolkit's usual one.
    options:
        Options of the architecture that shapes do not tell, such as `exp` of RTMDet.

    Raises
    ------
    FineSpotError
        The file is broken, wants to run code, holds no weights, is of no known naming or does not fit the network.
    """
    place = Path(path)
    checkpoint = read_checkpoint(place)
    stored, context = find_state(checkpoint)
    try:
        found, architecture, state = _recognized(stored, layout)
        architecture = _with_options(architecture, options or {})
        entries = list(found.entries(architecture))
        weights = {entry.key for entry in entries}
        detector = zoo.build(architecture)
        spare = [key for key in state if key not in weights]
        detector.load_state_dict(from_file(state, entries, architecture, spare=spare))
        # Constants are no weights with us, but recognizing the architecture has read them.
        known = weights | set(found.constants(architecture))
        unused = tuple(key for key in spare if key not in known)
        if names is None and architecture.classes == COCO_COUNTED_TO:
            detector = _named_classes_only(detector)
            architecture = detector.architecture or architecture
        notes = [f"{found.name} naming: {zoo.name_of(architecture)}, {architecture.classes} classes"]
        classes = _classes(architecture.classes, names, context, notes)
        side = _side(imgsz, context, found, architecture, notes)
        _compare_strides(context, detector, notes)
    except FineSpotError as error:
        what = error.what if error.where is None else f"{error.where}: {error.what}"
        raise FineSpotError(what, where=place, hint=error.hint) from error
    if found.fit != "center":
        notes.append(f"pictures lie in the input as these weights learnt it: {found.fit}")
    card = Card(
        architecture=architecture,
        classes=classes,
        imgsz=side,
        mean=found.normalization.mean,
        std=found.normalization.std,
        fit=found.fit,
        provenance={
            "made_by": "finespot weights import",
            "source": place.name,
            "sha256": hashlib.sha256(place.read_bytes()).hexdigest(),
            "layout": found.name,
        },
    )
    mapped = tuple(key for key in state if key in known)
    return Imported(detector.eval(), card, found.name, mapped, unused, tuple(notes))


def _named_classes_only(detector: zoo.Detector) -> zoo.Detector:
    """A detector of COCO's 91 ids, of which 80 have a name, without the rows of the others."""
    assert detector.architecture is not None
    chosen = [label for label in range(COCO_COUNTED_TO) if label not in COCO_UNUSED]
    lesser = zoo.build(replace(detector.architecture, classes=len(chosen)))
    repeats = getattr(detector.head, "class_repeats", 1)
    rows = torch.tensor([start * COCO_COUNTED_TO + label for start in range(repeats) for label in chosen])
    of_classes = {f"head.{name}" for name in detector.head.class_rows()}
    state = detector.state_dict()
    lesser.load_state_dict({name: state[name][rows] if name in of_classes else state[name] for name in state})
    return lesser


def dump(name_or_path: str | Path, layout: str | None = None, *, own_parts: bool = False) -> dict[str, Tensor]:
    """The weights of a file under another toolkit's names: a plain state dict, float32.

    Raises
    ------
    FineSpotError
        No naming is known for this family, or the one asked for is not for it.
    """
    detector, card = load(name_or_path, own_parts=own_parts)
    architecture = card.architecture
    fitting = [one for one in LAYOUTS if architecture.family in one.families]
    if not fitting:
        raise FineSpotError(
            f"no naming of another toolkit is known for {zoo.name_of(architecture)}", where=name_or_path
        )
    if layout is not None:
        fitting = [one for one in fitting if one.name == layout]
        if not fitting:
            raise unknown("layout", layout, [one.name for one in LAYOUTS if architecture.family in one.families])
    chosen = fitting[0]
    return {**to_file(detector.network_state(), chosen.entries(architecture)), **chosen.constants(architecture)}


def _recognized(state: Mapping[str, Tensor], layout: str | None) -> tuple[Layout, Architecture, Mapping[str, Tensor]]:
    named = [one.name for one in LAYOUTS]
    if layout is not None and layout not in named:
        raise unknown("layout", layout, named, where="layout")
    for one in LAYOUTS:
        if layout in (None, one.name):
            prepared = one.prepare(state)
            architecture = one.recognize(prepared)
            if architecture is not None:
                return one, architecture, prepared
    keys = list(state)
    raise FineSpotError(
        f"its {len(keys)} tensors ({some(keys[:3])} ...) are those of no network that is known",
        hint=f"known are the files of {', '.join(named)}" if layout is None else "leave --layout out",
    )


def _with_options(architecture: Architecture, options: Mapping[str, Any]) -> Architecture:
    return Architecture(
        architecture.family, architecture.size, architecture.classes, {**architecture.options, **options}
    )


def _classes(count: int, names: Sequence[str] | None, context: Context, notes: list[str]) -> Classes:
    if names is not None:
        if len(names) != count:
            raise FineSpotError(f"expected {count} class names but got {len(names)}", where="names")
        return Classes(tuple(names))
    stored = _stored_names(context)
    if stored is not None and len(stored) == count and len(set(stored)) == count:
        notes.append("class names: those in the file")
        return Classes(stored)
    if count == len(COCO_80):
        notes.append("class names: COCO's 80 (the file names none; --names says others)")
        return Classes(COCO_80)
    notes.append("class names: numbers (the file names none; --names says others)")
    return Classes(tuple(str(i) for i in range(count)))


def _stored_names(context: Context) -> tuple[str, ...] | None:
    """The class names beside the weights: Ultralytics' and YOLOv5's `names`, OpenMMLab's `meta`."""
    meta = context.rest.get("meta")
    places: list[Any] = [context.attributes.get("names"), context.rest.get("names")]
    if isinstance(meta, dict):
        inner = meta.get("dataset_meta")
        places += [
            meta.get("CLASSES"),
            *((inner.get("classes"), inner.get("CLASSES")) if isinstance(inner, dict) else ()),
        ]
    for one in places:
        if isinstance(one, dict) and set(one) == set(range(len(one))):
            one = [one[i] for i in range(len(one))]
        if isinstance(one, (list, tuple)) and one and all(isinstance(name, str) and name for name in one):
            return tuple(one)
    return None


def _side(asked: int | None, context: Context, layout: Layout, architecture: Architecture, notes: list[str]) -> int:
    if asked is not None:
        return asked
    arguments = context.attributes.get("args")
    stored = arguments.get("imgsz") if isinstance(arguments, dict) else None
    if isinstance(stored, int) and not isinstance(stored, bool) and 32 <= stored <= LARGEST_SIDE:
        notes.append(f"imgsz: {stored} (the file says so)")
        return stored
    usual = layout.imgsz(architecture)
    notes.append(f"imgsz: {usual} (usual for these weights; --imgsz says another)")
    return usual


def _compare_strides(context: Context, detector: zoo.Detector, notes: list[str]) -> None:
    """The strides that a file names must be those of the network."""
    stored = context.attributes.get("stride")
    if not isinstance(stored, Tensor) or stored.ndim != 1:
        return
    ours = [level.stride for level in detector.head.inputs]
    if [round(value) for value in stored.tolist()] != ours:
        raise FineSpotError(f"expected strides {ours} but the file says {stored.tolist()}", where="stride")
    notes.append(f"strides: {', '.join(map(str, ours))} (as the file says)")
