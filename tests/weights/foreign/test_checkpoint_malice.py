"""Files that would run code or take all memory where they are loaded: nothing runs, and one line says what."""

from __future__ import annotations

import builtins
import functools
import os
import pickle
import struct
import subprocess
import sys
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from checkpoint_files import FORMS, Detect, DetectionModel, classes_of, floats, legacy_with, pickled, save, text

from finespot.errors import FineSpotError
from finespot.weights.foreign import find_state, flat_state, plain, read_checkpoint


class Calls:
    """Pickled, this is a call of `function` with `args`."""

    def __init__(self, function: Callable[..., Any], *args: Any) -> None:
        self.function, self.args = function, args

    def __reduce__(self) -> Any:
        return self.function, self.args


@pytest.fixture(params=FORMS)
def form(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def marker(tmp_path: Path) -> Path:
    return tmp_path / "marker"


@pytest.fixture(autouse=True)
def nothing_ran(marker: Path) -> Any:
    before = set(sys.modules)
    yield
    assert not marker.exists(), "code of the file ran"
    assert not {name for name in set(sys.modules) - before if name.startswith(("evil", "models", "antigravity"))}


def refused(file: Path, name: str) -> str:
    with pytest.raises(FineSpotError) as caught:
        read_checkpoint(file)
    message = str(caught.value)
    assert message.startswith(f"{file}: ")
    assert name in message
    assert "\n" not in message
    return message


def test_the_marker_works(marker: Path) -> None:
    pickle.loads(pickle.dumps(Calls(os.system, f"touch {marker}")))
    assert marker.exists()
    marker.unlink()


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (os.system, "posix.system"),
        (builtins.eval, "builtins.eval"),
        (builtins.exec, "builtins.exec"),
        (builtins.__import__, "builtins.__import__"),
        (subprocess.Popen, "subprocess.Popen"),
        (functools.partial, "functools.partial"),
        (torch.load, "torch.serialization.load"),
        (torch.hub.load, "torch.hub.load"),
        (torch.storage._load_from_bytes, "torch.storage._load_from_bytes"),
        (pickle.loads, "pickle.loads"),
        (torch.compile, "torch.compile"),
        (os.remove, "posix.remove"),
        (builtins.open, "io.open"),
        (type, "builtins.type"),
        (print, "builtins.print"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
@pytest.mark.parametrize("protocol", [2, 4])
def test_functions(function: Callable[..., Any], name: str, protocol: int, form: str, tmp_path: Path) -> None:
    code = f"open({str(tmp_path / 'marker')!r}, 'w')"
    value = {"state_dict": {"w": torch.ones(1)}, "x": [{"deep": (1, Calls(function, code))}]}
    message = refused(save(value, tmp_path / "a.pt", form, pickle_protocol=protocol), name)
    assert "nothing was run" in message


@pytest.mark.filterwarnings("ignore:Couldn't retrieve source code")
def test_inside_the_state_of_a_module(form: str, tmp_path: Path, marker: Path) -> None:
    with classes_of("models.yolo", DetectionModel, Detect):
        model = DetectionModel()
        model.model[5].anchor_grid.append([Calls(os.system, f"touch {marker}")])
        file = save({"model": model}, tmp_path / "a.pt", form)
    refused(file, "posix.system")


def calls_by(module: str, name: str, argument: str) -> dict[str, bytes]:
    """The same call in all the ways that a pickle can call."""
    named = f"c{module}\n{name}\n".encode()
    args = text(argument) + b"\x85"
    return {
        "GLOBAL": named + args + b"R.",
        "STACK_GLOBAL": text(module) + text(name) + b"\x93" + args + b"R.",
        "INST": b"(" + text(argument) + f"i{module}\n{name}\n.".encode(),
        "OBJ": b"(" + named + text(argument) + b"o.",
        "NEWOBJ": named + args + b"\x81.",
        "NEWOBJ_EX": named + args + b"}\x92.",
        "BUILD": named + args + b"b.",
        "copyreg.__newobj__": b"ccopyreg\n__newobj__\n" + named + text(argument) + b"\x86R.",
        "copy_reg._reconstructor": b"ccopy_reg\n_reconstructor\n" + named + b"c__builtin__\nobject\nN\x87R.",
        "only named": named + b".",
    }


@pytest.mark.parametrize("way", calls_by("", "", ""))
@pytest.mark.parametrize("module", ["os", "posix", "nt", "__builtin__", "builtins"])
def test_ways_to_call(way: str, module: str, form: str, tmp_path: Path, marker: Path) -> None:
    name, shown = ("system", module) if module in ("os", "posix", "nt") else ("eval", "builtins")
    argument = f"touch {marker}" if name == "system" else f"open({str(marker)!r}, 'w')"
    data = calls_by(module, name, argument)[way]
    refused(pickled(b"\x80\x04" + data, tmp_path / "a.pt", form), f"{shown}.{name}")


@pytest.mark.parametrize("way", calls_by("", "", ""))
def test_a_name_of_a_known_package_is_never_looked_up(way: str, form: str, tmp_path: Path, marker: Path) -> None:
    """`torch.nn.modules.module.torch.os.system` leads to os.system for whoever resolves it."""
    name = "module.torch.serialization.os.system"
    assert functools.reduce(getattr, name.split("."), torch.nn.modules) is os.system
    data = calls_by("torch.nn.modules", name, f"touch {marker}")[way]
    file = pickled(b"\x80\x04" + data, tmp_path / "a.pt", form)
    if way == "BUILD":
        refused(file, "hands a state to Name, which takes none")
    else:
        assert type(read_checkpoint(file).tree).__name__ == ("Name" if way == "only named" else "Record")


def test_a_package_of_a_known_name_is_never_imported(tmp_path: Path, marker: Path, monkeypatch: Any) -> None:
    folder = tmp_path / "path/models"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text(f"open({str(marker)!r}, 'w')")
    monkeypatch.syspath_prepend(str(tmp_path / "path"))
    for way, data in calls_by("models", "Model", "x").items():
        if way != "BUILD":
            read_checkpoint(pickled(b"\x80\x04" + data, tmp_path / "a.pt"))


@pytest.mark.parametrize("code", [b"\x82\x01", b"\x83\x01\x00", b"\x84\x01\x00\x00\x00"])
def test_extension_numbers(code: bytes, form: str, tmp_path: Path) -> None:
    refused(pickled(b"\x80\x02" + code + b".", tmp_path / "a.pt", form), "extension registry")


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (b"c__builtin__\ngetattr\n" + b"cnumpy\nndarray\n" + text("tofile") + b"\x86R.", "numpy.ndarray"),
        (b"c__builtin__\ngetattr\n" + b"ctorch.nn\nModule\n" + text("__class__") + b"\x86R.", "__class__"),
        (b"c__builtin__\ngetattr\n" + b"ctorch.nn\nModule\n" + text("a.b") + b"\x86R.", "a.b"),
        (b"c__builtin__\ngetattr\n" + b"]" + text("append") + b"\x86R.", "list"),
        (b"c__builtin__\ngetattr\nc__builtin__\ngetattr\n" + text("__self__") + b"\x86R.", "builtins.getattr"),
        (b"c_codecs\nencode\n" + text("x") + text("rot13") + b"\x86R.", "latin1"),
        (b"c__builtin__\nbytearray\nJ\xff\xff\xff\x7f\x85R.", "expected bytes"),
        (b"c__builtin__\nbytes\nJ\xff\xff\xff\x7f\x85R.", "expected bytes"),
        (b"c__builtin__\nset\n" + text("abc") + b"\x85R.", "expected a set"),
        (b"ctorch._utils\n_rebuild_parameter\n" + b"ctorch.nn\nx\n\x89}\x87R.", "expected the tensor"),
        (b"ctorch\nFloatStorage\n)R.", "torch.FloatStorage"),
        (b"c__builtin__\nobject\n)R.", "builtins.object"),
        (b"](K\x01K\x02K\x03tR.", "list"),
        (text("os.system") + b")R.", "str"),
        (b"ctorch\nfloat16\n)R.", "str"),
        (b"]}b.", "list"),
        (b"\x8f}b.", "set"),
        (b"K\x01K\x02a.", "int"),
        (b"K\x01K\x02K\x03s.", "int"),
        (b"]K\x02K\x03s.", "list"),
        (b"](K\x02\x90.", "list"),
        (b"Ptorch\n.", "which no checkpoint has"),
        (b"K\x01Q.", "handle of a storage"),
        (b"\x97.", "which no checkpoint has"),
        (b"}]K\x01s.", "expected a key but got list"),
        (b"}}K\x01s.", "expected a key but got dict"),
        (b"\x8f(]\x90.", "expected a key but got list"),
        (b"cnumpy\ndtype\n" + text("f8") + b"\x85R(K\x03" + text(">") + b"NNNtb.", "big-endian"),
        (b"cnumpy.core.multiarray\nscalar\ncnumpy\ndtype\n" + text("f8") + b"\x85RC\x04abcd\x86R.", "expected 8 bytes"),
        (b"cnumpy.core.multiarray\nscalar\n" + text("f8") + b"C\x08abcdefgh\x86R.", "shape and type of an array"),
        (b"cnumpy\ndtype\n" + text("f8,O") + b"\x85R.", "'f8,O'"),
        (b"cdatetime\ndatetime\nC\x03abc\x85R.", "a date or time"),
        (b"cdatetime\ndatetime\nC\x0aabcdefghij\x85R.", "damaged"),
        (b"cdatetime\ndatetime\nC\x0a\x07\xe8\x01\x01\x63" + bytes(5) + b"\x85R.", "hour"),
        (b"S'a\\x41'\n.", "text in quotes"),
        (b"Sabc\n.", "text in quotes"),
        (b"K\x01K\x02\x93.", "the text of a name"),
        (b"ctorch.nn\nA\nK\x01}\x92.", "the arguments of a class"),
        (b"ctorch.nn\nA\n(" + b"N" * 65 + b"tR.", "at most 64 arguments"),
        (b"}(" + b"N" * 65 + b"tNs.", "a key of few parts"),
        (b"}\x8a\x09" + bytes(8) + b"\x01Ns.", "a key of at most 64 bits"),
        (b"\x85.", "too few values"),
        (b"(](]tK\x01d.", "without a value"),
    ],
)
def test_misuse_of_what_is_allowed(data: bytes, name: str, form: str, tmp_path: Path) -> None:
    refused(pickled(b"\x80\x04" + data, tmp_path / "a.pt", form), name)


def test_a_state_for_a_tensor(form: str, tmp_path: Path) -> None:
    """Tensors have a `__setstate__`, which must not be reached."""

    class Stateful(torch.Tensor):
        pass

    class Holder:
        def __reduce__(self) -> Any:
            return torch._utils._rebuild_parameter, (torch.ones(2), False, {}), {"a": 1}

    refused(save(Holder(), tmp_path / "a.pt", form), "hands a state to Tensor")


@pytest.mark.parametrize("function", [os.system, torch.nn.functional.relu])
def test_a_function_for_a_tensor_of_a_class(function: Callable[..., Any], form: str, tmp_path: Path) -> None:
    value = Calls(torch._tensor._rebuild_from_type_v2, function, torch.Tensor, ("touch x",), {})
    refused(save(value, tmp_path / "a.pt", form), f"{function.__module__}.{function.__name__}")


def test_names_are_fit_for_a_terminal(tmp_path: Path) -> None:
    message = refused(pickled(b"cos\n\x1b[2Jsystem\n.", tmp_path / "a.pt"), "os.\\x1b[2Jsystem")
    assert message.isprintable()
    data = text("torch.nn.\x1b[2J") + text("a") + b"\x93)R" + b"(K\x01tR."
    assert refused(pickled(data, tmp_path / "a.pt"), "Record").isprintable()
    file = pickled(text("torch.nn.\x1b[2J\n") + text("a") + b"\x93)R.", tmp_path / "a.pt")
    with pytest.raises(FineSpotError, match=r"\\x1b\[2J") as caught:
        find_state(read_checkpoint(file))
    assert str(caught.value).isprintable()
    long = refused(pickled(text("torch.nn") + text("x" * 1_000_000) + b"\x93.", tmp_path / "a.pt"), "torch.nn.xxx")
    assert len(long) < 1500


# Memory and time


@pytest.fixture
def bounded() -> Any:
    """Fails where Python's own memory grows by more than 32 MiB."""
    tracemalloc.start()
    yield
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 32 << 20, f"{peak:,} bytes"


def lying(code: bytes, form: str, length: int) -> bytes:
    return code + struct.pack(form, length) + b"abc."


@pytest.mark.usefixtures("bounded")
@pytest.mark.parametrize(
    "data",
    [
        lying(b"X", "<I", (1 << 32) - 1),
        lying(b"\x8d", "<Q", (1 << 64) - 1),
        lying(b"\x8e", "<Q", 1 << 40),
        lying(b"\x96", "<Q", 1 << 40),
        lying(b"B", "<I", 1 << 31),
        lying(b"T", "<i", -1),
        lying(b"\x8b", "<i", (1 << 31) - 1),
        lying(b"\x8b", "<i", -5),
        b"I" + b"9" * 5000 + b"\n.",
        b"I" + b"9" * 1000 + b"\n.",
        b"\x8b" + struct.pack("<i", 5000) + b"\x7f" * 5000 + b".",
        b"g99999999999\n.",
    ],
)
def test_lying_lengths(data: bytes, form: str, tmp_path: Path) -> None:
    refused(pickled(b"\x80\x04" + data, tmp_path / "a.pt", form), "pickle")


@pytest.mark.usefixtures("bounded")
def test_large_numbers_of_the_memo(tmp_path: Path) -> None:
    """The C unpickler reserves a table up to the largest number."""
    data = b"K\x07r\xff\xff\xff\xff0j\xff\xff\xff\xff."
    assert read_checkpoint(pickled(data, tmp_path / "a.pt")).tree == 7


@pytest.mark.slow
def test_deep_nesting(form: str, tmp_path: Path) -> None:
    count = 200_000
    found = read_checkpoint(pickled(b"]" * count + b"a" * (count - 1) + b".", tmp_path / "a.pt", form))
    with pytest.raises(FineSpotError, match="nested without end"):
        plain(found.tree)
    with pytest.raises(FineSpotError, match="no weights found"):
        find_state(found)


def test_deep_tuples_as_keys(tmp_path: Path) -> None:
    """Hashing 2^60 leaves would not end."""
    data = b"}" + b")" + b"2\x86" * 60 + b"K\x01s."
    refused(pickled(data, tmp_path / "a.pt"), "expected a key but got tuple")


@pytest.mark.slow
def test_doubling_lists(tmp_path: Path) -> None:
    data = b"]" + b"2\x86" * 60 + b"."
    tree = read_checkpoint(pickled(data, tmp_path / "a.pt")).tree
    with pytest.raises(FineSpotError, match="nested without end"):
        plain(tree)


def module(name: bytes, children: bytes) -> bytes:
    """A module with these children (pairs of name and module, in pickle)."""
    state = b"}(" + text("_parameters") + b"}" + text("_buffers") + b"}" + text("_modules") + b"}(" + children + b"uu"
    return b"c" + name + b"\n)\x81" + state + b"b"


@pytest.mark.slow
def test_doubling_modules(tmp_path: Path) -> None:
    """Each has the next one twice, 2^40 names in all."""
    data = module(b"torch.nn\nA", b"")
    for i in range(40):
        data = (
            data
            + b"q"
            + bytes([i])
            + b"0"
            + module(b"torch.nn\nA", b"".join(text(n) + b"h" + bytes([i]) for n in "ab"))
        )
    tree = read_checkpoint(pickled(b"\x80\x02" + data + b".", tmp_path / "a.pt")).tree
    with pytest.raises(FineSpotError, match="repeated without end"):
        flat_state(tree)


def test_a_module_within_itself(tmp_path: Path) -> None:
    data = (
        b"ctorch.nn\nA\n)\x81q\x00}("
        + text("_parameters")
        + b"}"
        + text("_modules")
        + b"}"
        + text("a")
        + b"h\x00su"
        + b"b."
    )
    tree = read_checkpoint(pickled(data, tmp_path / "a.pt")).tree
    with pytest.raises(FineSpotError, match="nested without end"):
        flat_state(tree)


@pytest.mark.slow
def test_endless_steps(tmp_path: Path) -> None:
    refused(pickled(b"N0" * 1_100_000 + b".", tmp_path / "a.pt"), "more than 2,000,000 steps")


@pytest.mark.usefixtures("bounded")
def test_copies_of_a_large_value(tmp_path: Path) -> None:
    """2,000 times 1 MB of bytes: a few bytes of pickle each, kept in a list."""
    large = text("x" * 1_000_000) + b"q\x00"
    keep = b"(" + b"".join([b"c_codecs\nencode\n" + b"h\x00" + text("latin1") + b"\x86R"] * 2000) + b"l."
    refused(pickled(large + keep, tmp_path / "a.pt"), "much more memory than the file has")


FOUR = struct.pack("<q4f", 4, 1, 2, 3, 4)


def view(start: int, length: int) -> bytes:
    return text("v") + b"K" + bytes([start]) + b"K" + bytes([length]) + b"\x87"


def test_what_the_claims_below_change(tmp_path: Path) -> None:
    file = legacy_with(floats(4) + b".", ["7"], FOUR, tmp_path / "a.pt")
    assert read_checkpoint(file).tree.tolist() == [1, 2, 3, 4]
    # Early releases could store a part of another storage.
    file = legacy_with(floats(4, view(1, 2), 2) + b".", ["7"], FOUR, tmp_path / "a.pt")
    assert read_checkpoint(file).tree.tolist() == [2, 3]


@pytest.mark.parametrize(
    ("data", "keys", "content", "message"),
    [
        (floats((1 << 31) - 1), ["7"], FOUR, "its storages claim 8,589,934,588 bytes"),
        (floats(-4), ["7"], FOUR, "the length of a storage"),
        (floats(4, shape=5), ["7"], FOUR, "does not fit"),
        (floats(4, kind="Size"), ["7"], FOUR, "the type of a storage"),
        (floats(4, kind="nn.Linear"), ["7"], FOUR, "the type of a storage"),
        (floats(4, b"K\x01"), ["7"], FOUR, "a storage's view"),
        (floats(4, view(3, 2), 2), ["7"], FOUR, "a view ends at element 5 of 4"),
        (floats(4, view(1, 2), 3), ["7"], FOUR, "does not fit"),
        (floats(2, shape=2) + b"0" + floats(4), ["7"], FOUR, "claimed with two sizes"),
        (floats(4), ["8"], FOUR, "list of storages"),
        (floats(4), [], FOUR, "list of storages"),
        (floats(4), ["7", "7"], FOUR * 2, "list of storages"),
        (floats(4), "7", FOUR, "list of storages"),
        (floats(4), [["7"]], FOUR, "list of storages"),
        (floats(4), ["7"], FOUR[:-1], "cut off"),
        (floats(4), ["7"], FOUR[:7], "cut off"),
        (floats(4), ["7"], struct.pack("<q", -4) + FOUR[8:], "should hold 16 bytes but has -4 elements"),
        (floats(4), ["7"], struct.pack("<q", 5) + FOUR[8:], "should hold 16 bytes but has 5 elements"),
        (floats(4), ["7"], struct.pack("<q", 0) + FOUR[8:], "should hold 16 bytes but has 0 elements"),
    ],
)
def test_claims_on_storages(data: bytes, keys: object, content: bytes, message: str, tmp_path: Path) -> None:
    refused(legacy_with(data + b".", keys, content, tmp_path / "a.pt"), message)


def test_two_sizes_of_a_storage_in_a_zip_file(tmp_path: Path) -> None:
    file = pickled(floats(4) + b"0" + floats(2, shape=2) + b".", tmp_path / "a.pt")
    with zipfile.ZipFile(file, "a") as archive:
        archive.writestr("archive/data/7", FOUR[8:])
    refused(file, "claimed to hold 8 bytes as well")


@pytest.mark.parametrize(
    ("shape", "strides", "offset", "message"),
    [
        ((5,), (1,), 0, "does not fit"),
        ((2, 2), (2, 1), 1, "does not fit"),
        ((2,), (1 << 40,), 0, "does not fit"),
        ((1 << 40,), (0,), 0, "more memory"),
        ((1 << 40, 1 << 40), (0, 0), 0, "more memory"),
        ((2,), (-1,), 1, "expected a storage"),
        ((-1,), (1,), 0, "expected a storage"),
        ((2,), (1,), -1, "expected a storage"),
        ((2,), (1,), True, "expected a storage"),
        ((2.0,), (1,), 0, "expected a storage"),
        ((2,), (1, 1), 0, "expected 1 strides"),
        ((1,) * 65, (1,) * 65, 0, "expected a storage"),
        ((0,), (1,), 5, "does not fit"),
        ((1 << 62,), (0,), 0, "expected a storage"),
    ],
)
def test_claims_of_tensors(shape: Any, strides: Any, offset: Any, message: str, form: str, tmp_path: Path) -> None:
    whole = torch.arange(4, dtype=torch.uint8)

    class Claim:
        def __reduce__(self) -> Any:
            return torch._utils._rebuild_tensor_v2, (whole.untyped_storage(), offset, shape, strides, False, {})

    refused(save({"w": Claim()}, tmp_path / "a.pt", form), message)


def test_many_copies_of_a_storage(tmp_path: Path) -> None:
    whole = torch.zeros(250_000)

    class Again:
        def __reduce__(self) -> Any:
            return torch._utils._rebuild_tensor_v2, (whole.untyped_storage(), 0, (1_000_000,), (1,), False, {})

    few = read_checkpoint(save([Again() for _ in range(5)], tmp_path / "a.pt")).tree
    assert len({one.data_ptr() for one in few}) == 5
    refused(save([Again() for _ in range(200)], tmp_path / "a.pt"), "much more memory")


# Zip files


def rewritten(path: Path, change: Callable[[str, bytes], bytes] = lambda _, data: data, **options: Any) -> Path:
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", **options) as archive:
        for name, data in entries.items():
            archive.writestr(name, change(name, data))
    return path


def test_a_compressed_file_is_read(tmp_path: Path) -> None:
    weights = torch.rand(1000).half().float()
    file = rewritten(save({"w": weights}, tmp_path / "a.pt"), compression=zipfile.ZIP_DEFLATED)
    assert file.stat().st_size < 4000
    assert torch.equal(read_checkpoint(file).tree["w"], weights)


def test_a_zip_bomb(tmp_path: Path) -> None:
    file = rewritten(save({"w": torch.zeros(2_000_000)}, tmp_path / "a.pt"), compression=zipfile.ZIP_DEFLATED)
    assert file.stat().st_size < 20_000
    refused(file, "claims 8,000,000 bytes")


def test_many_small_bombs(tmp_path: Path) -> None:
    file = rewritten(save([torch.zeros(1000) for _ in range(50)], tmp_path / "a.pt"), compression=zipfile.ZIP_DEFLATED)
    with zipfile.ZipFile(file, "a", compression=zipfile.ZIP_DEFLATED) as archive:
        for i in range(40):
            archive.writestr(f"archive/data/9{i}", bytes(200_000))
    refused(file, "bytes together")


def test_a_claimed_size_of_compressed_bytes(tmp_path: Path) -> None:
    file = rewritten(save([torch.rand(3)], tmp_path / "a.pt"), compression=zipfile.ZIP_DEFLATED)
    data = bytearray(file.read_bytes())
    at = data.rindex(b"PK\x01\x02", 0, data.rindex(b"a/data/0"))
    data[at + 20 : at + 24] = struct.pack("<I", 0x7FFFFFF0)
    file.write_bytes(data)
    refused(file, "the entry 'a/data/0' claims")


def test_an_unknown_compression(tmp_path: Path) -> None:
    refused(rewritten(save([1], tmp_path / "a.pt"), compression=zipfile.ZIP_LZMA), "compressed in an unknown way")


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_an_entry_twice(tmp_path: Path) -> None:
    file = save([1], tmp_path / "a.pt")
    with zipfile.ZipFile(file, "a") as archive:
        archive.writestr("a/data.pkl", b"N.")
    refused(file, "'a/data.pkl' twice")


def test_two_pickles(tmp_path: Path) -> None:
    file = save([1], tmp_path / "a.pt")
    with zipfile.ZipFile(file, "a") as archive:
        archive.writestr("other/data.pkl", b"N.")
    refused(file, "2 entries named data.pkl")


def test_a_storage_of_another_size(tmp_path: Path) -> None:
    def change(name: str, data: bytes) -> bytes:
        return data + bytes(4) if name.endswith("data/0") else data

    refused(rewritten(save([torch.ones(3)], tmp_path / "a.pt"), change), "should hold 12 bytes but has 16")


def test_an_absent_storage(tmp_path: Path) -> None:
    file = save([torch.ones(3)], tmp_path / "a.pt")
    with zipfile.ZipFile(file) as archive:
        data = archive.read("a/data.pkl")
    refused(pickled(data, tmp_path / "b.pt"), "the storage '0' is absent")


def test_a_claimed_size_of_an_entry(tmp_path: Path) -> None:
    """A stored entry that says in the directory that it has 4 GB."""
    file = save([torch.ones(3)], tmp_path / "a.pt")
    data = bytearray(rewritten(file).read_bytes())
    at = data.rindex(b"PK\x01\x02", 0, data.rindex(b"a/data/0"))
    for size_at in (at + 20, at + 24):
        data[size_at : size_at + 4] = struct.pack("<I", 0xFFFFFFF0)
    file.write_bytes(data)
    refused(file, "claim")


def test_a_claimed_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The directory of a zip file costs ten times its size, so its size is limited."""
    monkeypatch.setattr("finespot.weights.foreign.archive._LARGEST_DIRECTORY", 100_000)
    file = save([1], tmp_path / "a.pt")
    with zipfile.ZipFile(file, "a") as archive:
        for i in range(2000):
            archive.writestr(f"a/extra/{i}", b"")
    refused(file, "the directory of its zip file takes")


def test_big_endian(tmp_path: Path) -> None:
    def change(name: str, data: bytes) -> bytes:
        return b"big" if name.endswith("byteorder") else data

    refused(rewritten(save([torch.ones(3)], tmp_path / "a.pt"), change), "big-endian")
    head = b"".join(pickle.dumps(one, 2) for one in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": False}, [], []))
    (tmp_path / "b.pt").write_bytes(head)
    refused(tmp_path / "b.pt", "big-endian")
