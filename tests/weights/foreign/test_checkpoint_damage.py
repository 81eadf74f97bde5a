"""Files that are no checkpoints, cut off, or changed at random: one line that says what is wrong, or values."""

from __future__ import annotations

import os
import random
import tarfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from checkpoint_files import pickle_of, repickled, save, small_files
from PIL import Image

from finespot.errors import FineSpotError
from finespot.weights.foreign import find_state, plain, read_checkpoint

KINDS = ("zip", "legacy", "zip-network", "legacy-network", "safetensors", "pickle", "pickle-network")
# Steps of pickles, and lengths, that one byte more or less rarely becomes.
TOKENS = (
    *(b"cos\nsystem\n", b"R", b"b", b"\x81", b"(", b"t", b"l", b"d", b"]", b"}", b")", b"N", b"0", b"2", b"Q", b"."),
    *(b"\x85", b"\x86", b"\x87", b"h\x00", b"q\x01", b"a", b"s", b"u", b"e", b"\x8a\xff", b"\xff\xff\xff\xff", b"\x00"),
    *(
        b"K\x00",
        b"J\xff\xff\xff\x7f",
        b"X\xff\xff\x00\x00",
        b"\x8f",
        b"\x90",
        b"o",
        b"\x80\x04",
        b"PK\x01\x02",
        b"-1",
        b"1",
    ),
)
pytestmark = pytest.mark.filterwarnings("ignore:Couldn't retrieve source code")


def refused(file: Path, message: str) -> None:
    with pytest.raises(FineSpotError, match=message) as caught:
        read_checkpoint(file)
    assert str(caught.value).startswith(f"{file}: ")
    assert "\n" not in str(caught.value)


def tar(path: Path) -> None:
    with tarfile.open(path, "w") as archive:
        archive.add(__file__, "storages")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: None, "No such file"),
        (lambda path: path.mkdir(), "expected a file but got a folder"),
        (lambda path: os.mkfifo(path), "a device or pipe"),
        (lambda path: path.write_bytes(b""), "the file is empty"),
        (lambda path: Image.new("RGB", (4, 4)).save(path, "png"), "a picture"),
        (lambda path: Image.new("RGB", (4, 4)).save(path, "jpeg"), "a picture"),
        (lambda path: path.write_text("some words"), "no checkpoint"),
        (lambda path: path.write_text("  <!DOCTYPE html><html></html>"), "a web page"),
        (lambda path: path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\n"), "Git LFS"),
        (lambda path: path.write_bytes(b"\x80"), "cut off"),
        (lambda path: path.write_bytes(b"\x80\x02K\x01."), "a pickle, but no checkpoint"),
        (lambda path: path.write_bytes(b"PK\x03\x04" + bytes(100)), "damaged or cut off"),
        (lambda path: path.write_bytes(bytes(200)), "no checkpoint"),
        (tar, "a tar file"),
        (lambda path: torch.jit.script(torch.nn.ReLU()).save(str(path)), "a TorchScript file"),
    ],
)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_no_checkpoint(make: Callable[[Path], object], message: str, tmp_path: Path) -> None:
    make(tmp_path / "a.pt")
    refused(tmp_path / "a.pt", message)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_no_permission(tmp_path: Path) -> None:
    file = save([1], tmp_path / "a.pt")
    file.chmod(0)
    refused(file, "Permission denied")


def test_a_zip_file_of_something_else(tmp_path: Path) -> None:
    import numpy as np

    np.savez(tmp_path / "a.npz", a=np.ones(3))
    refused(tmp_path / "a.npz", "a zip file, but no checkpoint")


def test_an_empty_safetensors_file(tmp_path: Path) -> None:
    (tmp_path / "a.safetensors").write_bytes(b"\x02" + bytes(7) + b"{}")
    assert read_checkpoint(tmp_path / "a.safetensors").tree == {}


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["zip", "legacy", "safetensors"])
def test_every_length(kind: str, tmp_path: Path) -> None:
    file = small_files(tmp_path)[kind]
    whole = file.read_bytes()
    for length in range(0, len(whole), 3):
        file.write_bytes(whole[:length])
        refused(file, "cut off|no checkpoint|empty|damaged")


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 7, 500])
@pytest.mark.parametrize("kind", ["zip", "legacy"])
def test_bytes_behind_the_end(kind: str, count: int, tmp_path: Path) -> None:
    """torch reads such files, and so do we: the older form counts, and zip files are read from the end."""
    file = small_files(tmp_path)[kind]
    file.write_bytes(file.read_bytes() + bytes(count))
    assert find_state(read_checkpoint(file))[0]["a.bias"].tolist() == [1, 1]


def damaged(data: bytes, rng: random.Random) -> bytes:
    """The bytes with one to three small changes."""
    changed = bytearray(data)
    for _ in range(rng.randint(1, 3)):
        at = rng.randint(0, len(changed))
        end = min(len(changed), at + rng.choice((1, 1, 2, 8, 40)))
        kind = rng.randrange(8)
        if kind == 0:
            changed[at:end] = b""
        elif kind == 1:
            changed[at:end] = rng.choice(TOKENS)
        elif kind == 2:
            changed[at:at] = rng.choice(TOKENS)
        elif kind == 3:
            changed[at:at] = changed[at:end] * rng.choice((1, 2, 50))
        elif kind == 4:
            del changed[at:]
        elif changed:
            changed[min(at, len(changed) - 1)] = rng.randrange(256)
    return bytes(changed)


def look_at(file: Path) -> None:
    """Read a file and use all that comes out of it."""
    found = read_checkpoint(file)
    with suppress(FineSpotError):  # a whole network is no plain data
        plain(found.tree)
    state, _ = find_state(found)
    for tensor in state.values():
        tensor.abs().sum()


def survive(kind: str, folder: Path, rounds: int, seed: int) -> None:
    """Random damage to the file, or (`pickle`) to the pickle in it under right checksums."""
    inside = kind.startswith("pickle")
    file = small_files(folder)[kind.replace("pickle", "zip")]
    state, _ = find_state(read_checkpoint(file))
    assert state
    whole, inner = file.read_bytes(), pickle_of(file) if inside else b""
    rng = random.Random(f"{kind} {seed}")
    messages = []
    for _ in range(rounds):
        if inside:
            repickled(file, damaged(inner, rng))
        else:
            file.write_bytes(damaged(whole, rng))
        try:
            look_at(file)
        except FineSpotError as error:
            messages.append(str(error))
        if inside:
            file.write_bytes(whole)
    assert len(messages) > rounds / 4, "the damage is noticed"
    assert not [message for message in messages if "\n" in message or len(message) > 2000]


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_little_damage(kind: str, tmp_path: Path) -> None:
    survive(kind, tmp_path, rounds=200 if "network" in kind else 400, seed=0)


@pytest.mark.full
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("kind", KINDS)
def test_a_hundred_thousand_damaged_files(kind: str, seed: int, tmp_path: Path) -> None:
    """7 kinds x 3 x 4,800 files; FUZZ_ROUNDS asks for more."""
    survive(kind, tmp_path, rounds=int(os.environ.get("FUZZ_ROUNDS", "4800")), seed=1 + seed)
