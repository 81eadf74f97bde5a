"""What a pickle in a checkpoint may name and call: this list, and nothing else.

A pickle makes objects by calling what it names. Here a name never leads to the thing itself: it is a `Name`, and a
call of one of the few names in `CALLS` runs a function of `calls.py` instead. A call of a class below `PACKAGES` makes
a `Record` of it. Any other name ends the reading.
"""

from __future__ import annotations

import datetime
import pathlib
import re
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from finespot.errors import FineSpotError
from finespot.weights.foreign import calls
from finespot.weights.foreign.calls import Args, Call, expect, is_text
from finespot.weights.foreign.tensors import DTYPES, STORAGE_TYPES, Tensors
from finespot.weights.foreign.tree import Name, Record, Value, shown

# Packages whose classes a checkpoint of a network holds; none of them is ever imported. The short ones are how
# YOLOv5, ESOD (`models`, `utils`) and the authors of RT-DETR (`src`) name their folders.
PACKAGES = (
    *("torch.nn.", "torch.optim.", "torch._C._nn.", "torchvision.", "timm."),
    *("ultralytics.", "yolov5.", "models.", "utils.", "yolox.", "src."),
    *("mmengine.", "mmcv.", "mmdet.", "mmyolo.", "mmcls.", "mmpretrain.", "mmseg."),
)
# Objects that are nothing but their attributes.
_NAMESPACES = {"argparse.Namespace", "types.SimpleNamespace"}
_NUMBERS = re.compile(r"numpy\.(float|int|uint|complex)\d+|numpy\.bool_?")
# A pickle can repeat a long name or row of arguments in two bytes, and have each looked at anew.
_LONGEST_NAME = 1000
_MOST_ARGS = 64
_SAVE_PLAIN = "save the state_dict() of the network as safetensors where the file comes from, and take that"
# Kinds of tensors that cannot be taken over.
_REFUSED = {
    "torch._utils._rebuild_qtensor": "a quantized tensor",
    "torch._utils._rebuild_sparse_tensor": "a sparse tensor",
    "torch._utils._rebuild_nested_tensor": "a nested tensor",
    "torch._utils._rebuild_meta_tensor_no_storage": "a tensor without values",
    "torch._utils._rebuild_wrapper_subclass": "a tensor of a class of its own",
    **{f"torch.{kind}Storage": "a quantized tensor" for kind in ("QInt8", "QUInt8", "QInt32", "QUInt4x2", "QUInt2x4")},
}


def lookup(module: str, name: str) -> Value:
    """What the name `module`.`name` of a pickle stands for: a `Name`, or the text of an element type or layout.

    Raises
    ------
    FineSpotError
        The name is not allowed.
    """
    # Older protocols use the names of Python 2; what is looked at is what Python 3 would take.
    module, name = NAME_MAPPING.get((module, name), (IMPORT_MAPPING.get(module, module), name))
    text = f"{module}.{name}"
    if text in _REFUSED:
        raise FineSpotError(f"it holds {_REFUSED[text]} ({text}), which cannot be read", hint=_SAVE_PLAIN)
    if text in _CONSTANTS:
        return text
    known = text in CALLS or text in _NAMED or text.startswith(PACKAGES) or _NUMBERS.fullmatch(text)
    if known and len(text) <= _LONGEST_NAME:
        return Name(text)
    raise FineSpotError(f"it names '{shown(text)}', which is no part of a network; nothing was run", hint=_SAVE_PLAIN)


def call(tensors: Tensors, target: Value, args: Value) -> Value:
    """What a pickle gets for calling `target` with `args`."""
    if not (isinstance(target, Name) and isinstance(args, tuple)):
        raise FineSpotError(f"it calls {type(target).__name__}, which is no allowed name; nothing was run")
    expect(len(args) <= _MOST_ARGS, f"at most {_MOST_ARGS} arguments")
    if target.text in CALLS:
        return CALLS[target.text](tensors, args)
    if target.text in _NAMESPACES or target.text.startswith(PACKAGES):
        return Record(target.text, args)
    raise FineSpotError(f"it calls '{target.text}', which may only be named; nothing was run")


def set_state(tensors: Tensors, target: Value, state: Value) -> None:
    """What a pickle does to an object that it made and now hands its state."""
    if isinstance(target, Record):
        parts = state if isinstance(state, tuple) and len(state) == 2 else (state,)  # with the slots, if there are any
        attributes = [part for part in parts if isinstance(part, dict)]
        tensors.charge(calls.ITEM * sum(len(part) for part in attributes), "attributes")
        if len(attributes) + sum(part is None for part in parts) == len(parts) and all(
            is_text(*part) for part in attributes
        ):
            for part in attributes:
                target.state.update(part)
        else:
            tensors.charge(calls.ITEM * len(target.args), "states")
            target.args += (state,)
    elif isinstance(target, np.ndarray):
        calls.fill_array(tensors, target, state)
    elif isinstance(target, np.dtype):
        calls.check_array_type(state)
    elif not isinstance(target, dict):  # of a dictionary: attributes, such as a state dict's _metadata
        raise FineSpotError(f"it hands a state to {type(target).__name__}, which takes none; nothing was run")


def outside(tensors: Tensors, handle: Value) -> Value:
    """What a pickle gets for the handle of something that lies outside it: a storage, or a class with its source."""
    if isinstance(handle, tuple) and len(handle) == 4 and handle[0] == "module" and isinstance(handle[1], Name):
        return handle[1]
    if not (isinstance(handle, tuple) and len(handle) in (5, 6) and handle[0] == "storage"):
        raise FineSpotError("expected the handle of a storage")
    if not (isinstance(handle[1], Name) and handle[1].text in _STORAGES):
        raise FineSpotError("expected the type of a storage")
    return tensors.storage(handle[2], _STORAGES[handle[1].text], handle[4], *handle[5:])


# Calls that lead to another name, which is looked at in turn


def _with_attributes(tensors: Tensors, args: Args) -> Tensor:
    """`_rebuild_from_type_v2(function, class, args, state)`: a tensor of a class or with attributes, which go."""
    expect(len(args) == 4 and isinstance(args[0], Name), "a tensor of a class")
    if args[0].text not in _TENSORS:
        raise FineSpotError(f"it calls '{args[0].text}' for a tensor; nothing was run")
    made = call(tensors, args[0], args[2])
    if not isinstance(made, Tensor):
        raise FineSpotError("expected a tensor of a class")
    return made


def _member(_: Tensors, args: Args) -> Name:
    """`getattr` as pickles use it: for the name of a method or an inner class."""
    expect(len(args) == 2, "a name and the name of its member")
    owner, name = args
    known = isinstance(owner, Name) and owner.text.startswith(PACKAGES)
    short = is_text(name) and len(name) <= 100 and name.isidentifier() and not name.startswith("__")
    if known and short and len(owner.text) < _LONGEST_NAME:
        return Name(f"{owner.text}.{name}")
    what = owner.text if isinstance(owner, Name) else type(owner).__name__
    member = shown(name) if is_text(name) else type(name).__name__
    raise FineSpotError(f"it names builtins.getattr of '{what}', '{member}'; nothing was run", hint=_SAVE_PLAIN)


def _bare(tensors: Tensors, args: Args) -> Value:
    """`copyreg._reconstructor(class, object, None)`: an object made without its constructor."""
    expect(len(args) == 3 and args[1] == Name("builtins.object") and args[2] is None, "a class derived from object")
    return call(tensors, args[0], ())


def _new(tensors: Tensors, args: Args) -> Value:
    """`copyreg.__newobj__(class, *args)`."""
    expect(len(args) >= 1, "a class")
    return call(tensors, args[0], args[1:])


_CONSTANTS = {
    *(f"torch.{name}" for name in DTYPES),
    *("torch.strided", "torch.contiguous_format", "torch.channels_last", "torch.preserve_format"),
}
_STORAGES: dict[str, torch.dtype] = {
    **{f"torch.{name}": dtype for name, dtype in STORAGE_TYPES.items()},
    **{f"torch.cuda.{name}": dtype for name, dtype in STORAGE_TYPES.items()},
    **{f"torch.storage.{name}": torch.uint8 for name in ("UntypedStorage", "_UntypedStorage")},
}
# Types that only stand for themselves, as an attribute or an argument.
_NAMED = {
    *(*_STORAGES, *_NAMESPACES),
    *("torch.Tensor", "numpy.ndarray", "builtins.object", "builtins.int", "builtins.float", "builtins.bool"),
}
_TENSORS: dict[str, Call] = {
    "torch._utils._rebuild_tensor": calls.tensor,
    "torch._utils._rebuild_tensor_v2": calls.tensor,
    "torch._utils._rebuild_tensor_v3": calls.tensor_of_type,
    "torch._utils._rebuild_parameter": calls.parameter,
    "torch._utils._rebuild_parameter_with_state": calls.parameter,
}
_PATHS = {
    **dict.fromkeys(("Path", "PosixPath", "PurePosixPath"), pathlib.PurePosixPath),
    **dict.fromkeys(("WindowsPath", "PureWindowsPath"), pathlib.PureWindowsPath),
}
CALLS: Mapping[str, Call] = {
    **_TENSORS,
    "torch._tensor._rebuild_from_type_v2": _with_attributes,
    "torch.Size": calls.sequence(tuple),
    "torch.device": calls.device,
    "torch.serialization._get_layout": calls.text,
    "torch.torch_version.TorchVersion": calls.text,
    **{f"numpy.{core}.multiarray._reconstruct": calls.array for core in ("core", "_core")},
    **{f"numpy.{core}.multiarray.scalar": calls.scalar for core in ("core", "_core")},
    **{f"numpy.{core}.numeric._frombuffer": calls.array_of_bytes for core in ("core", "_core")},
    "numpy.dtype": calls.array_type,
    "collections.OrderedDict": calls.pairs,
    "collections.Counter": calls.pairs,
    "collections.defaultdict": calls.default_pairs,
    "collections.deque": calls.queue,
    "builtins.dict": calls.pairs,
    "builtins.list": calls.sequence(list),
    "builtins.tuple": calls.sequence(tuple),
    "builtins.set": calls.sequence(set),
    "builtins.frozenset": calls.sequence(frozenset),
    "builtins.slice": calls.whole_numbers(slice),
    "builtins.range": calls.whole_numbers(range),
    "builtins.complex": calls.complex_number,
    "builtins.bytes": calls.raw_bytes,
    "builtins.bytearray": calls.raw_bytes,
    "builtins.str": calls.text,
    "builtins.getattr": _member,
    "_codecs.encode": calls.encoded,
    "copyreg._reconstructor": _bare,
    "copyreg.__newobj__": _new,
    **{f"pathlib.{name}": calls.path(kind) for name, kind in _PATHS.items()},
    **{f"pathlib._local.{name}": calls.path(kind) for name, kind in _PATHS.items()},
    "datetime.datetime": calls.moment(datetime.datetime, 10),
    "datetime.date": calls.moment(datetime.date, 4),
    "datetime.time": calls.moment(datetime.time, 6),
    "datetime.timedelta": calls.duration,
}
