"""Checkpoint files of other toolkits: what torch.save writes (zip, and the form before release 1.6) and safetensors.

Facts of the files. Zip: the stored entries `<name>/data.pkl` (the pickle), `<name>/data/<key>` (a storage's bytes) and
`<name>/byteorder`; TorchScript has the same form with `constants.pkl` and code. Older: five pickles in a row (a magic
number, a version, facts on the machine, the value, the storages' keys), then for each key the number of its elements
(8 bytes) and the elements. The oldest (before 0.2) is a tar file.
"""

from __future__ import annotations

import io
import os
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, BinaryIO

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from finespot.errors import FineSpotError
from finespot.weights.foreign.tensors import SPARE, Tensors
from finespot.weights.foreign.tree import Value, shown
from finespot.weights.foreign.unpickle import DAMAGE, unpickle

_MAGIC = 0x1950A86A20F9469CFC6C
_VERSION = 1001
# The directory of a zip file costs ten times its size in memory, and 100,000 entries are far more than a network has.
_LARGEST_DIRECTORY = 16 << 20
_LARGEST_PICKLE = 512 << 20
_MOST_BYTES = 64 << 30
_STRONGEST = 20  # times that a compressed file may grow; numbers shrink to nine tenths, seldom to less than half
_CHUNK = 1 << 24


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """What a file holds.

    Parameters
    ----------
    form:
        "torch", "torch (before 1.6)" or "safetensors".
    tree:
        Nested dictionaries, lists, tuples, sets, text, numbers and tensors, with a `Record` for each other object and
        a `Name` for each class or function that is only named. Parts may occur in several places, or in themselves.
    metadata:
        The text that a safetensors file carries.
    """

    path: Path
    form: str
    tree: Value
    metadata: dict[str, str] = field(default_factory=dict)


def read_checkpoint(path: str | Path) -> Checkpoint:
    """Read a checkpoint of another toolkit, without that toolkit and without running anything that is in the file.

    Raises
    ------
    FineSpotError
        No such file, no checkpoint, a damaged one; or one that names or calls what no checkpoint of a network needs
        (it says what); quantized, sparse or big-endian tensors; TorchScript; a claim of more memory than the file has.
    """
    path = Path(path)
    with telling(path):
        mode = os.stat(path).st_mode
        if not stat.S_ISREG(mode):
            raise FineSpotError("expected a file but got " + ("a folder" if stat.S_ISDIR(mode) else "a device or pipe"))
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            start = file.read(512)
            file.seek(0)
            if start.startswith(b"PK\x03\x04"):
                return Checkpoint(path, "torch", _read_zip(file, size))
            if start.startswith(b"\x80"):
                return Checkpoint(path, "torch (before 1.6)", _read_sequence(file, size))
        if _is_safetensors(start, size):
            return _read_safetensors(path)
        raise _unknown(start)


@contextmanager
def telling(path: Path) -> Iterator[None]:
    """Errors about the file name it; what a damaged file makes torch, zipfile and Python raise becomes one line."""
    try:
        yield
    except FineSpotError as error:
        what = error.what if error.where is None else f"{error.where}: {error.what}"
        raise FineSpotError(shown(" ".join(what.split())), where=path, hint=error.hint) from error
    except OSError as error:
        raise FineSpotError(f"cannot be read ({error.strerror or error})", where=path) from error
    except MemoryError as error:
        raise FineSpotError("does not fit in memory", where=path) from error
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, SafetensorError, *DAMAGE) as error:
        told = shown(" ".join(str(error).split())[:200])
        raise FineSpotError(f"damaged or cut off ({told})", where=path, hint="copy or download it again") from error


def _unknown(start: bytes) -> FineSpotError:
    """The error for a file that is no checkpoint, with what it seems to be."""
    hint = "expected .pt, .pth, .ckpt or .safetensors"
    if not start:
        return FineSpotError("the file is empty", hint="copy or download it again")
    if start[257:262] == b"ustar":
        return FineSpotError("a tar file, as torch wrote before release 0.2", hint="save it anew with a newer torch")
    if start.startswith(b"version https://git-lfs"):
        return FineSpotError("a pointer of Git LFS, not the file itself", hint="fetch it with git lfs pull")
    if start.lstrip()[:1] == b"<":
        return FineSpotError("a web page, no checkpoint", hint="download the file itself")
    if start.startswith((b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"II*\x00", b"MM\x00*", b"BM")):
        return FineSpotError("a picture, no checkpoint", hint=hint)
    return FineSpotError("no checkpoint: neither torch's nor safetensors' form", hint=hint)


# The zip form


class _Bounded(io.RawIOBase):
    """A file that refuses to be read in pieces above a limit, first that of the directory, later its own size."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self.limit = file, _LARGEST_DIRECTORY

    def read(self, size: int = -1) -> bytes:
        if size > self.limit:
            raise FineSpotError(f"the directory of its zip file takes {size:,} bytes, far more than a network needs")
        return self._file.read(size)

    def seek(self, offset: int, whence: int = 0) -> int:
        if offset < 0 and whence == 0:
            raise zipfile.BadZipFile("an entry lies before its start")
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True


def _read_zip(file: BinaryIO, size: int) -> Value:
    bounded = _Bounded(file)
    with zipfile.ZipFile(bounded) as archive:  # type: ignore[arg-type]  # reading and seeking is all that it does
        bounded.limit = size
        entries = _checked_entries(archive, size)
        root = _root(entries)
        order = entries.get(f"{root}byteorder")
        if order is not None and _content(archive, order, 16).strip() != b"little":
            raise FineSpotError("its numbers are big-endian, which is not supported")
        memory: dict[str, Tensor] = {}

        def storage(key: str, length: int) -> Tensor:
            if key not in memory:
                entry = entries.get(f"{root}data/{key}")
                if entry is None:
                    raise FineSpotError(f"the storage '{shown(key)}' is absent", hint="the file may be cut off")
                if entry.file_size != length:
                    what = f"the storage '{shown(key)}' should hold {length:,} bytes but has {entry.file_size:,}"
                    raise FineSpotError(what)
                memory[key] = torch.empty(length, dtype=torch.uint8)
                _fill(archive, entry, memory[key])
            if memory[key].numel() != length:
                raise FineSpotError(f"the storage '{shown(key)}' is claimed to hold {length:,} bytes as well")
            return memory[key]

        data = _content(archive, entries[f"{root}data.pkl"], _LARGEST_PICKLE)
        tensors = Tensors(storage, _budget(size))
        tree = unpickle(io.BytesIO(data), len(data), tensors)
        tensors.separate()
        return tree


def _budget(size: int) -> int:
    return 2 * size + SPARE


def _checked_entries(archive: zipfile.ZipFile, size: int) -> dict[str, zipfile.ZipInfo]:
    """The entries by name, once their claims on memory are known to be sane."""
    entries: dict[str, zipfile.ZipInfo] = {}
    total = 0
    for entry in archive.infolist():
        if entry.filename in entries:
            raise FineSpotError(f"its zip file holds '{shown(entry.filename)}' twice")
        if entry.flag_bits & 1 or entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise FineSpotError(f"the entry '{shown(entry.filename)}' is encrypted or compressed in an unknown way")
        grown = entry.file_size - entry.compress_size
        impossible = entry.compress_size > size or (entry.compress_type == zipfile.ZIP_STORED and grown)
        if impossible or entry.file_size > _STRONGEST * size:
            raise FineSpotError(f"the entry '{shown(entry.filename)}' claims {entry.file_size:,} bytes")
        entries[entry.filename] = entry
        total += entry.file_size
    stored = all(entry.compress_type == zipfile.ZIP_STORED for entry in entries.values())
    most = min(_MOST_BYTES, size if stored else _STRONGEST * size)
    if total > most:
        raise FineSpotError(f"the entries of its zip file claim {total:,} bytes together, the file has {size:,}")
    return entries


def _root(entries: dict[str, zipfile.ZipInfo]) -> str:
    """The folder that holds all entries, with a slash."""
    roots = [name.removesuffix("data.pkl") for name in entries if name.split("/")[-1] == "data.pkl"]
    if any(name.split("/")[-1] == "constants.pkl" for name in entries):
        raise FineSpotError(
            "a TorchScript file, whose network is a program", hint="take the checkpoint that it was exported from"
        )
    if len(roots) != 1:
        raise FineSpotError(f"a zip file, but no checkpoint of torch ({len(roots)} entries named data.pkl)")
    return roots[0]


def _content(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, most: int) -> bytes:
    if entry.file_size > most:
        raise FineSpotError(f"the entry '{shown(entry.filename)}' has {entry.file_size:,} bytes, {most:,} are the most")
    with archive.open(entry) as stream:
        return stream.read()


def _fill(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, memory: Tensor) -> None:
    with archive.open(entry) as stream:
        _read_into(stream, memory, entry.filename)
        stream.read(1)  # at its end zipfile compares the checksum


def _read_into(stream: IO[bytes], memory: Tensor, name: str) -> None:
    array, done = memory.numpy(), 0
    while done < len(array):
        piece = stream.read(min(_CHUNK, len(array) - done))
        if not piece:
            raise FineSpotError(f"'{shown(name)}' is cut off", hint="copy or download the file again")
        array[done : done + len(piece)] = np.frombuffer(piece, np.uint8)
        done += len(piece)


# The form before release 1.6


def _read_sequence(file: BinaryIO, size: int) -> Value:
    claimed: dict[str, Tensor] = {}
    total = 0

    def storage(key: str, length: int) -> Tensor:
        nonlocal total
        if key not in claimed:
            total += length
            if total > size:
                raise FineSpotError(f"its storages claim {total:,} bytes, the file has {size:,}")
            claimed[key] = torch.empty(length, dtype=torch.uint8)
        if claimed[key].numel() < length:
            raise FineSpotError(f"the storage '{shown(key)}' is claimed with two sizes")
        return claimed[key][:length]

    tensors = Tensors(storage, _budget(size))

    def following() -> Value:
        return unpickle(file, min(size - file.tell(), _LARGEST_PICKLE), tensors)

    magic = following()
    if magic != _MAGIC or following() != _VERSION:
        raise FineSpotError(
            "a pickle, but no checkpoint of torch", hint="load it where it comes from and save its tensors with torch"
        )
    facts = following()
    if not isinstance(facts, dict) or facts.get("little_endian") is not True:
        raise FineSpotError("its numbers are big-endian, which is not supported")
    tree, keys = following(), following()
    if not isinstance(keys, list) or len(keys) != len(claimed) or not all(_is_key(key, claimed) for key in keys):
        raise FineSpotError("its list of storages does not fit its content")
    for key in keys:
        _fill_next(file, claimed[str(key)], str(key))
    tensors.separate()
    return tree


def _is_key(key: Value, claimed: dict[str, Tensor]) -> bool:
    return isinstance(key, str) and key in claimed


def _fill_next(file: BinaryIO, memory: Tensor, key: str) -> None:
    header = file.read(8)
    if len(header) < 8:
        raise FineSpotError(f"the storage '{shown(key)}' is cut off", hint="copy or download the file again")
    count = struct.unpack("<q", header)[0]
    if count == 0 and memory.numel() == 0:
        return
    if count <= 0 or memory.numel() % count or memory.numel() // count not in (1, 2, 4, 8, 16):
        raise FineSpotError(
            f"the storage '{shown(key)}' should hold {memory.numel():,} bytes but has {count:,} elements"
        )
    _read_into(file, memory, key)


# Safetensors


def _is_safetensors(start: bytes, size: int) -> bool:
    return len(start) > 8 and start[8:9] == b"{" and struct.unpack("<Q", start[:8])[0] <= size


def _read_safetensors(path: Path) -> Checkpoint:
    with safe_open(str(path), framework="pt") as file:
        metadata = file.metadata() or {}
        # Copies: the handle maps the file, and the file may be replaced under it.
        tensors: Value = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118 (no mapping)
    return Checkpoint(path, "safetensors", tensors, dict(metadata))
