"""Where the weights are in a checkpoint, and what stands beside them.

Toolkits wrap weights in a dictionary of their own: Ultralytics and YOLOv5 keep whole networks under `ema` (while
training) or `model` (finished), the authors of RT-DETR a state dict under `ema.module`, YOLOX under `model`, OpenMMLab
under `state_dict`. Averaged weights come first. OpenMMLab's `ema_state_dict` is not taken: its `state_dict` is the
average already, the two are exchanged when it saves.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor

from finespot.errors import FineSpotError, some
from finespot.weights.foreign.archive import Checkpoint, telling
from finespot.weights.foreign.tree import Record, Value, flat_state, plain_items, shown

# In the order in which they are looked for.
PLACES = ("ema", "model", "model_state", "state_dict", "model_state_dict", "net")
# What data-parallel training and torch.compile put before every name.
_WRAPPERS = ("module.", "_orig_mod.")


@dataclass(frozen=True)
class Context:
    """What stands beside the weights, as plain data; what is no plain data is left out.

    Parameters
    ----------
    place:
        Where the weights were: `ema`, `ema.module`; empty where they are the whole file.
    kind:
        The class of the network where a whole network was stored: `models.yolo.DetectionModel`.
    attributes:
        Of the network: `yaml`, `names`, `stride`, `nc`, `hyp`, `args` and more, where it has them.
    rest:
        The other entries of the file.
    """

    place: str = ""
    kind: str | None = None
    attributes: dict[str, Value] = field(default_factory=dict)
    rest: dict[str, Value] = field(default_factory=dict)


def find_state(checkpoint: Checkpoint) -> tuple[dict[str, Tensor], Context]:
    """The state dict in a checkpoint, under the names its network gave, and what stands beside it.

    Raises
    ------
    FineSpotError
        There are no weights in any of the usual places, or something else is among them.
    """
    with telling(checkpoint.path):
        return _find(checkpoint)


def _find(checkpoint: Checkpoint) -> tuple[dict[str, Tensor], Context]:
    tree = checkpoint.tree
    place, holder = _place(tree)
    if isinstance(holder, Record):
        state, kind = flat_state(holder), holder.name
        attributes = plain_items({name: one for name, one in holder.state.items() if not name.startswith("_")})
    else:
        state, kind, attributes = _tensors(holder, place), None, {}
    if not state:
        raise FineSpotError("expected weights but got none", where=place or None)
    rest: dict[str, Value] = dict(checkpoint.metadata)
    if place and isinstance(tree, dict):
        taken = place.split(".")[0]
        rest |= plain_items({str(key): one for key, one in tree.items() if key != taken})
    return unwrapped(state), Context(place, kind, attributes, rest)


def _place(tree: Value) -> tuple[str, Value]:
    """Where the weights are and what holds them there: a module or a dictionary."""
    if _holds_weights(tree):
        return "", tree
    if isinstance(tree, dict):
        for key in PLACES:
            one = tree.get(key)
            if isinstance(one, dict) and _holds_weights(one.get("module")):
                return f"{key}.module", one["module"]
            if _holds_weights(one):
                return key, one
        held = f"its entries are {some([shown(str(key)) for key in tree])}" if tree else "it is empty"
    else:
        held = f"it holds {tree.name if isinstance(tree, Record) else type(tree).__name__}"
    raise FineSpotError(f"no weights found: {held}", hint=f"weights are expected under {', '.join(PLACES)}")


def _holds_weights(value: Value) -> bool:
    """Whether this is a module, or a state dict: names, most of them of tensors (a few toolkits add a counter)."""
    if isinstance(value, Record):
        return value.is_module
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        return False
    return sum(isinstance(one, Tensor) for one in value.values()) * 2 > len(value)


def _tensors(state: Value, place: str) -> dict[str, Tensor]:
    found = {}
    for name, tensor in state.items():  # type: ignore[attr-defined]
        if not isinstance(tensor, Tensor):
            what = f"expected tensors only but '{shown(name)}' holds {type(tensor).__name__}"
            raise FineSpotError(what, where=place or None)
        found[name] = tensor
    return found


def unwrapped(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The state without the prefixes that wrappers around the whole network add."""
    for prefix in _WRAPPERS * 2:
        if state and all(name.startswith(prefix) for name in state):
            state = {name.removeprefix(prefix): tensor for name, tensor in state.items()}
    return state
