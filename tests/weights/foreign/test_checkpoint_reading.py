"""Checkpoints of torch and safetensors give the values that torch.load gives, without their classes."""

from __future__ import annotations

import argparse
import collections
import datetime
import pathlib
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from checkpoint_files import FORMS, Detect, DetectionModel, classes_of, network, pickled, save, text
from torch import nn

from finespot.errors import FineSpotError
from finespot.weights.foreign import Name, Record, flat_state, plain, read_checkpoint

DTYPES = (
    *(torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.int16, torch.int8),
    *(torch.uint8, torch.bool, torch.complex64),
)


def same(ours: Any, theirs: torch.Tensor) -> bool:
    return ours.dtype == theirs.dtype and ours.shape == theirs.shape and torch.equal(ours, theirs)


@pytest.fixture(params=FORMS)
def form(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_types(dtype: torch.dtype, form: str, tmp_path: Path) -> None:
    value = torch.tensor([[0, 1, 2], [3, 100, 1]]).to(dtype)
    found = read_checkpoint(save({"w": value}, tmp_path / "a.pt", form)).tree
    assert same(found["w"], value)


@pytest.mark.parametrize("dtype", [torch.uint16, torch.uint32, torch.uint64], ids=str)
def test_types_without_a_storage_class(dtype: torch.dtype, tmp_path: Path) -> None:
    value = torch.tensor([3, 2, 60000]).to(dtype)
    assert same(read_checkpoint(save([value], tmp_path / "a.pt")).tree[0], value)


def test_views(form: str, tmp_path: Path) -> None:
    whole = torch.arange(60.0).reshape(3, 4, 5)
    views = {
        "transposed": whole.permute(2, 0, 1),
        "row": whole[1, 2],
        "steps": whole[:, ::2, 1::2],
        "scalar": whole[2, 3, 4],
        "empty": whole[:0],
        "none": torch.empty(0, 3),
        "channels_last": torch.rand(2, 3, 4, 5).to(memory_format=torch.channels_last),
        "repeated": torch.arange(3.0).reshape(3, 1).expand(3, 7),
        "windows": torch.arange(10.0).unfold(0, 4, 1),
        "parameter": nn.Parameter(torch.rand(2, 2)),
        "frozen": nn.Parameter(torch.rand(2), requires_grad=False),
    }
    file = save(views, tmp_path / "a.pt", form)
    found, wanted = read_checkpoint(file).tree, torch.load(file, weights_only=True)
    assert list(found) == list(wanted)
    assert all(same(found[name], wanted[name].detach()) for name in found)
    assert not any(one.requires_grad for one in found.values())


def test_a_shared_storage_becomes_copies(form: str, tmp_path: Path) -> None:
    whole = torch.arange(12.0)
    value = {"a": whole, "b": whole[2:6], "c": whole.view(3, 4), "again": whole}
    found = read_checkpoint(save(value, tmp_path / "a.pt", form)).tree
    assert all(same(found[name], value[name]) for name in value)
    found["a"].zero_()
    assert same(found["b"], whole[2:6])
    assert same(found["c"], whole.view(3, 4))


def test_flags_are_truth_values(tmp_path: Path) -> None:
    """Other bytes than 0 and 1 count as true, as everywhere."""
    file = save({"f": torch.tensor([True, False, True, True])}, tmp_path / "a.pt", "legacy")
    data = bytearray(file.read_bytes())
    assert data[-4:] == b"\x01\x00\x01\x01"
    data[-1] = 7
    file.write_bytes(data)
    found = read_checkpoint(file).tree["f"]
    assert found.view(torch.uint8).tolist() == [1, 0, 1, 1]


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
def test_plain_data_in_every_protocol(protocol: int, tmp_path: Path) -> None:
    value = {
        "none": None,
        "flags": (True, False),
        "numbers": [0, 1, -1, 255, 256, 65536, -(1 << 31), 1 << 40, -(1 << 70), 0.5, -1e300, float("inf"), 2 + 3j],
        "text": ["", "a", "ümlaut €", "line\nbreak\\", "x" * 300, "\N{GRINNING FACE}"],
        "bytes": [b"", b"\x00\xff", b"y" * 300],
        "empty": [[], {}, ()],
        "nested": {"a": {1: [(2, 3, 4, 5), ("x",)], (1, "b"): None}},
        "range": range(2, 9, 3),
        "slice": slice(1, None, 2),
    }
    file = tmp_path / "a.pt"
    if protocol >= 2:  # torch's handles of storages need it, and bytes of protocol 0 and 1 are text in one of its calls
        save({**value, "tensor": torch.ones(2), "sets": [{1, "a"}, frozenset({2})]}, file, pickle_protocol=protocol)
        found = read_checkpoint(file).tree
        assert same(found.pop("tensor"), torch.ones(2))
        assert found.pop("sets") == [{1, "a"}, frozenset({2})]
    else:
        save(value, file, pickle_protocol=protocol)
        found = read_checkpoint(file).tree
    assert found == value
    assert plain(found) == value


def test_objects_of_the_standard_library(form: str, tmp_path: Path) -> None:
    value = {
        "ordered": collections.OrderedDict(b=1, a=2),
        "default": collections.defaultdict(list, {"x": [1]}),
        "counter": collections.Counter("aab"),
        "queue": collections.deque([1, 2], maxlen=5),
        "path": pathlib.PurePosixPath("runs/train/exp"),
        "windows": pathlib.PureWindowsPath("C:\\runs\\exp"),
        "moment": datetime.datetime(2024, 5, 6, 7, 8, 9),
        "day": datetime.date(2024, 5, 6),
        "duration": datetime.timedelta(hours=3),
        "array": bytearray(b"abc"),
        "names": {"a", nn.Linear},
        "options": argparse.Namespace(lr=0.1, path=pathlib.PurePosixPath("x")),
    }
    found = plain(read_checkpoint(save(value, tmp_path / "a.pt", form)).tree)
    assert found == {
        "ordered": {"b": 1, "a": 2},
        "default": {"x": [1]},
        "counter": {"a": 2, "b": 1},
        "queue": [1, 2],
        "path": "runs/train/exp",
        "windows": "C:\\runs\\exp",
        "moment": "2024-05-06T07:08:09",
        "day": "2024-05-06",
        "duration": "3:00:00",
        "array": b"abc",
        "names": {"a", "torch.nn.modules.linear.Linear"},
        "options": {"lr": 0.1, "path": "x"},
    }
    assert list(found["ordered"]) == ["b", "a"]


def test_text_of_python_2(tmp_path: Path) -> None:
    """Old files have text without an encoding, in the pickle's short and long form, and in quotes."""
    data = b"(U\x02abT\x02\x00\x00\x00\xc3\xbcU\x01\xfcS'c'\nS\"d\"\nI01\nI5\nL6L\nF0.5\n(NN1l."
    found = read_checkpoint(pickled(data, tmp_path / "a.pt", "legacy")).tree
    assert found == ["ab", "ü", "ü", "c", "d", True, 5, 6, 0.5]
    data = b"c__builtin__\nunicode\n" + text("x") + b"\x85Rc__builtin__\nxrange\nK\x03\x85R\x86."
    assert read_checkpoint(pickled(data, tmp_path / "a.pt")).tree == ("x", range(3))


@pytest.mark.slow
def test_a_large_pickle(form: str, tmp_path: Path) -> None:
    """Logs of a training may stand beside the weights."""
    value = {"log": "x" * 17_000_000, "values": np.arange(3_000_000)}
    found = read_checkpoint(save(value, tmp_path / "a.pt", form)).tree
    assert found["log"] == value["log"]
    assert (found["values"] == value["values"]).all()


def test_objects_of_torch(form: str, tmp_path: Path) -> None:
    value = [torch.Size([2, 3]), torch.device("cuda", 1), torch.device("cpu"), torch.float16, torch.__version__]
    found = read_checkpoint(save(value, tmp_path / "a.pt", form)).tree
    assert found == [(2, 3), "cuda:1", "cpu", "torch.float16", str(torch.__version__)]


@pytest.mark.parametrize("protocol", [2, 5])
def test_numpy(protocol: int, tmp_path: Path) -> None:
    numbers = [np.float64(0.25), np.float32(0.5), np.int64(-3), np.bool_(True)]
    arrays = [
        np.arange(6, dtype=np.float32).reshape(2, 3),
        np.asfortranarray(np.arange(6, dtype=np.int16).reshape(2, 3)),
        np.empty((0, 4)),
        np.array(7, dtype=np.uint8),
        np.array(["a", "bc"]),
    ]
    file = save({"n": numbers, "a": arrays, "t": np.float32}, tmp_path / "a.pt", pickle_protocol=protocol)
    found = read_checkpoint(file).tree
    assert found["n"] == [0.25, 0.5, -3, True]
    assert [type(one) for one in found["n"]] == [float, float, int, bool]
    for ours, theirs in zip(found["a"], arrays):
        assert ours.dtype == theirs.dtype
        assert ours.shape == theirs.shape
        assert (ours == theirs).all()
        assert type(ours) is np.ndarray
    assert found["t"] == Name("numpy.float32")


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.array([{}]), "elements of type 'O8'"),
        (np.zeros(2, dtype=[("x", "f4"), ("y", "i4")]), "elements of type 'V8'"),
        (np.zeros(2, dtype=">f4"), "big-endian"),
    ],
)
def test_arrays_that_are_refused(array: np.ndarray, message: str, tmp_path: Path) -> None:
    with pytest.raises(FineSpotError, match=message):
        read_checkpoint(save([array], tmp_path / "a.pt"))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.qint8), "a quantized tensor"),
        (lambda: torch.eye(3).to_sparse(), "a sparse tensor"),
        (lambda: torch.empty(3, device="meta"), "a tensor without values"),
        (lambda: torch.nested.nested_tensor([torch.ones(2), torch.ones(3)]), "a nested tensor"),
        (lambda: torch.ones(2, dtype=torch.complex64).conj(), "computed when read"),
    ],
)
def test_tensors_that_are_refused(make: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(FineSpotError, match=message) as caught:
        read_checkpoint(save({"w": make()}, tmp_path / "a.pt"))
    assert str(caught.value).startswith(f"{tmp_path / 'a.pt'}: ")


def test_a_tensor_with_attributes(tmp_path: Path) -> None:
    value = torch.arange(3.0)
    value.note = "left out"
    parameter = nn.Parameter(torch.ones(2))
    parameter.note = "left out"
    found = read_checkpoint(save([value, parameter], tmp_path / "a.pt")).tree
    assert same(found[0], torch.arange(3.0))
    assert same(found[1], torch.ones(2))


@pytest.mark.filterwarnings("ignore:Couldn't retrieve source code")
def test_a_network_whose_classes_are_gone(form: str, tmp_path: Path) -> None:
    file, wanted = network(tmp_path / "a.pt", form)
    assert "models" not in sys.modules
    tree = read_checkpoint(file).tree
    assert "models" not in sys.modules
    model = tree["model"]
    assert isinstance(model, Record)
    assert model.name == "models.yolo.DetectionModel"
    assert model.is_module
    found = flat_state(model)
    assert list(found) == list(wanted)
    assert all(same(found[name], wanted[name]) for name in wanted)
    assert "model.5.grid" not in found
    assert "model.4.weight" in found
    assert model.state["names"] == {0: "person", 1: "car"}
    detect = model.state["_modules"]["model"].state["_modules"]["5"]
    assert detect.name == "models.yolo.Detect"
    repeated = detect.state["anchor_grid"][0]
    assert same(repeated, wanted["model.5.anchors"][0].view(1, 3, 1, 1, 2).expand(1, 3, 6, 6, 2))


def test_a_network_in_halves(tmp_path: Path) -> None:
    with classes_of("models.yolo", DetectionModel, Detect):
        model = DetectionModel().half()
        file = save(model, tmp_path / "a.pt")
        wanted = model.state_dict()
    found = flat_state(read_checkpoint(file).tree)
    assert {one.dtype for one in found.values()} == {torch.float16, torch.int64}
    assert all(same(found[name], wanted[name]) for name in wanted)


class Options(dict):  # a dictionary with a class, as configurations have
    pass


class Items(list):
    pass


class Slotted:
    __slots__ = ("a", "b")


class Stateful:
    def __init__(self) -> None:
        self.a = 1

    def __getstate__(self) -> tuple[int, str]:
        return (self.a, "odd")

    def __setstate__(self, state: object) -> None:
        raise AssertionError("code of the file's class ran")

    def method(self) -> None:
        pass


class Made:
    def __init__(self, *args: object) -> None:
        self.args = args

    def __reduce__(self) -> Any:
        return Made, self.args


def test_objects_of_known_packages_become_records(tmp_path: Path) -> None:
    with classes_of("mmengine.config", Options, Items, Slotted, Stateful, Made):
        slotted = Slotted()
        slotted.a = 5
        value = [Options(x=1), Items([1, 2]), slotted, Stateful(), Made(1, "two"), Options, Stateful.method]
        file = save(value, tmp_path / "a.pt")
    options, items, slotted, stateful, made, kind, method = read_checkpoint(file).tree
    assert (options.name, options.entries, plain(options)) == ("mmengine.config.Options", {"x": 1}, {"x": 1})
    assert items.elements == [1, 2]
    assert slotted.state == {"a": 5}
    assert stateful.args == ((1, "odd"),)
    assert made.args == (1, "two")
    assert kind == Name("mmengine.config.Options")
    # In protocol 2 a method is written as getattr(class, name); the name is all that is taken.
    assert method == Name("mmengine.config.Stateful.method")
    assert "mmengine" not in sys.modules


class Keywords:
    def __new__(cls, *args: object, **keywords: object) -> Any:
        return super().__new__(cls)

    def __getnewargs_ex__(self) -> Any:
        return (1,), {"scale": 2}


@pytest.mark.parametrize("protocol", [4, 5])
def test_keywords_of_a_class(protocol: int, tmp_path: Path) -> None:
    with classes_of("mmdet.structures", Keywords):
        file = save(Keywords(), tmp_path / "a.pt", pickle_protocol=protocol)
    found = read_checkpoint(file).tree
    assert (found.name, found.args) == ("mmdet.structures.Keywords", (1, {"scale": 2}))


def test_an_optimizer(tmp_path: Path) -> None:
    """Its state is keyed by whole parameters."""
    model = nn.Linear(2, 2)
    optimizer = torch.optim.Adam(model.parameters())
    model(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    found = read_checkpoint(save({"o": optimizer, "s": optimizer.state_dict()}, tmp_path / "a.pt")).tree
    assert found["o"].name == "torch.optim.adam.Adam"
    assert len(found["o"].state["state"]) == 2
    assert same(found["s"]["state"][0]["exp_avg"], optimizer.state_dict()["state"][0]["exp_avg"])


def test_safetensors(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    state = {"b": torch.rand(2, 3).half(), "a": torch.arange(4)}
    save_file(state, tmp_path / "a.safetensors", {"note": "kept"})
    found = read_checkpoint(tmp_path / "a.safetensors")
    assert (found.form, found.metadata) == ("safetensors", {"note": "kept"})
    assert all(same(found.tree[name], state[name]) for name in state)


def test_the_file_may_have_any_ending(tmp_path: Path) -> None:
    assert read_checkpoint(save({"w": torch.ones(1)}, tmp_path / "a.bin")).form == "torch"
    assert read_checkpoint(str(save({"w": torch.ones(1)}, tmp_path / "b", "legacy"))).form == "torch (before 1.6)"
