"""Checkpoints as other toolkits write them, made of classes that are gone when the file is read."""

from __future__ import annotations

import pickle
import struct
import sys
import types
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import nn

MAGIC = 0x1950A86A20F9469CFC6C
FORMS = ("zip", "legacy")


def save(value: object, path: Path, form: str = "zip", **options: Any) -> Path:
    torch.save(value, path, _use_new_zipfile_serialization=form == "zip", **options)
    return path


def pickled(data: bytes, path: Path, form: str = "zip") -> Path:
    """A file with this pickle in the place of the value, and no storages."""
    if form == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("archive/data.pkl", data)
            archive.writestr("archive/byteorder", "little")
            archive.writestr("archive/version", "3\n")
    else:
        legacy_with(data, [], b"", path)
    return path


def repickled(path: Path, data: bytes) -> None:
    """The zip file with another pickle, and right checksums."""
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in entries.items():
            archive.writestr(name, data if name.endswith("data.pkl") else content)


def pickle_of(path: Path) -> bytes:
    with zipfile.ZipFile(path) as archive:
        return archive.read(next(name for name in archive.namelist() if name.endswith("data.pkl")))


@contextmanager
def classes_of(module: str, *classes: type) -> Iterator[None]:
    """The classes, importable under `module` while this lasts."""
    parts = module.split(".")
    names = [".".join(parts[: i + 1]) for i in range(len(parts))]
    assert not any(name in sys.modules for name in names), "a name of a module that does not exist here"
    modules = [types.ModuleType(name) for name in names]
    before = [(one.__module__, one.__qualname__) for one in classes]
    for one in classes:
        one.__module__, one.__qualname__ = module, one.__name__
        setattr(modules[-1], one.__name__, one)
    sys.modules.update(zip(names, modules))
    for outer, inner in pairwise(modules):
        setattr(outer, inner.__name__.split(".")[-1], inner)
    try:
        yield
    finally:
        for name in names:
            del sys.modules[name]
        for one, (home, name) in zip(classes, before):
            one.__module__, one.__qualname__ = home, name


class Detect(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.nc = 2
        self.m = nn.ModuleList([nn.Conv2d(4, 7, 1), nn.Conv2d(4, 7, 1)])
        self.register_buffer("anchors", torch.arange(12.0).reshape(2, 3, 2))
        self.register_buffer("grid", torch.zeros(5), persistent=False)
        self.register_buffer("absent", None)
        # As YOLOv5 leaves it behind after a validation: a view that repeats its elements.
        self.anchor_grid = [self.anchors[0].view(1, 3, 1, 1, 2).expand(1, 3, 6, 6, 2)]


class DetectionModel(nn.Module):
    """A network with what real ones have: shared parts, buffers of all kinds, hooks, attributes."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        shared = nn.Conv2d(4, 4, 3, bias=False)
        self.model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.SiLU(), shared, shared, Detect())
        self.model[1].running_mean += torch.rand(4)
        self.scale = nn.Parameter(torch.rand(3))
        self.register_parameter("offset", None)
        self.head = nn.Linear(4, 2)
        self.head.weight = nn.Parameter(torch.rand(4, 2).t())
        self.names = {0: "person", 1: "car"}
        self.yaml = {"nc": 2, "anchors": [[10, 13], [16, 30]], "backbone": [[-1, 1, "Conv", [64, 6, 2, 2]]]}
        self.stride = torch.tensor([8.0, 16.0])
        self.hyp = types.SimpleNamespace(lr0=0.01, box=0.05)


def network(path: Path, form: str = "zip", **entries: Any) -> tuple[Path, dict[str, torch.Tensor]]:
    """A YOLOv5-like file of a whole network, and the state dict that torch itself gives for it."""
    with classes_of("models.yolo", DetectionModel, Detect):
        model = DetectionModel()
        save({"epoch": 3, "model": model, "ema": None, **entries}, path, form)
        return path, {name: tensor.clone() for name, tensor in model.state_dict().items()}


def small_files(folder: Path) -> dict[str, Path]:
    """One small file of each kind that is read."""
    from safetensors.torch import save_file

    state = {"a.weight": torch.arange(6.0).reshape(2, 3), "a.bias": torch.ones(2).half(), "n": torch.tensor(3)}
    value = {"state_dict": state, "epoch": 3, "meta": {"names": ["a", "b"], "lr": 0.1}}
    network(folder / "network.pt"), network(folder / "network-legacy.pt", "legacy")
    save_file(state, folder / "plain.safetensors", {"note": "x"})
    return {
        "zip": save(value, folder / "plain.pt"),
        "legacy": save(value, folder / "plain-legacy.pt", "legacy"),
        "zip-network": folder / "network.pt",
        "legacy-network": folder / "network-legacy.pt",
        "safetensors": folder / "plain.safetensors",
    }


def text(value: str) -> bytes:
    """The step of a pickle that makes this text."""
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def floats(length: int, view: bytes = b"N", shape: int = 4, kind: str = "FloatStorage") -> bytes:
    """The steps that make a vector out of the storage `7`, said to have `length` elements."""
    handle = b"(" + text("storage") + f"ctorch\n{kind}\n".encode() + text("7") + text("cpu")
    handle += b"J" + struct.pack("<i", length) + view + b"tQ"
    return b"ctorch._utils\n_rebuild_tensor\n(" + handle + b"K\x00K" + bytes([shape]) + b"\x85K\x01\x85tR"


def legacy_with(data: bytes, keys: object, content: bytes, path: Path) -> Path:
    """A file of the older form with this pickle as the value, this list of storages, and these bytes behind."""
    facts = {"protocol_version": 1001, "little_endian": True, "type_sizes": {}}
    head = b"".join(pickle.dumps(one, protocol=2) for one in (MAGIC, 1001, facts))
    path.write_bytes(head + data + pickle.dumps(keys, protocol=2) + content)
    return path
