"""The checkpoint: whole or not at all, plain data only, random states that go on."""

from __future__ import annotations

import os
import pickle
import random
import signal
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from finespot.errors import FineSpotError
from finespot.training import checkpoint

# What a checkpoint must hold, as little as will do.
WHOLE = {
    "progress": {"epoch": 1, "iteration": 4, "steps": 4, "best": None, "best_epoch": 0},
    "model": {"weight": torch.zeros(1000)},
    "ema": {"model": {}, "steps": 4},
    "optimizer": {"state": {}, "param_groups": []},
    "scaler": {},
    "order": {"seed": 0, "per_epoch": 4, "world": 1},
}


def draws() -> list[float]:
    return [random.random(), float(np.random.random()), float(torch.rand(())), float(np.random.normal())]  # noqa: NPY002


def test_random_states_go_on_after_a_round_trip(tmp_path: Path) -> None:
    checkpoint.seed_all(3)
    draws()
    checkpoint.save_checkpoint({**WHOLE, "random": checkpoint.random_states()}, tmp_path / "x.pt")
    expected = draws()
    checkpoint.seed_all(9)
    checkpoint.set_random_states(checkpoint.load_checkpoint(tmp_path / "x.pt")["random"])
    assert draws() == expected


def test_seed_decides() -> None:
    checkpoint.seed_all(1)
    first = draws()
    checkpoint.seed_all(1)
    assert draws() == first
    checkpoint.seed_all(2)
    assert draws() != first


def test_full_disk_keeps_the_last_good_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "resume.pt"
    checkpoint.save_checkpoint({**WHOLE, "epoch": 1}, path)

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    monkeypatch.setattr(checkpoint.shutil, "disk_usage", lambda folder: SimpleNamespace(free=3 << 19))
    with pytest.raises(FineSpotError) as caught:
        checkpoint.save_checkpoint({**WHOLE, "epoch": 2, "more": [torch.zeros(1 << 20)]}, path)
    monkeypatch.undo()
    assert str(caught.value) == (
        f"{path}: the checkpoint could not be written (the disk is full: it takes 4.0 MiB, and 1.5 MiB are free); "
        "the last good one is kept"
    )
    assert checkpoint.load_checkpoint(path)["epoch"] == 1
    assert [p.name for p in tmp_path.iterdir()] == ["resume.pt"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_torch_on_a_full_device_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "resume.pt.part").symlink_to("/dev/full")
    with pytest.raises(FineSpotError, match=r"resume.pt: .*\(the disk is full: it takes .*there was none before it"):
        checkpoint.save_checkpoint({"x": torch.zeros(10**6)}, tmp_path / "resume.pt")


def test_other_failures_keep_their_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def over(descriptor: int) -> None:
        raise OSError(122, "Disk quota exceeded")

    monkeypatch.setattr(os, "fsync", over)
    with pytest.raises(
        FineSpotError, match=r"could not be written \(\[Errno 122\] Disk quota exceeded\); there was none"
    ):
        checkpoint.save_checkpoint(WHOLE, tmp_path / "resume.pt")


def test_nothing_in_a_checkpoint_is_executed(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (os.system, ("touch " + str(tmp_path / "owned"),))

    torch.save({"format": checkpoint.FORMAT, "x": Evil()}, tmp_path / "evil.pt")
    with pytest.raises(
        FineSpotError, match=r"as a checkpoint \(it is damaged, or holds more than tensors and plain values\)$"
    ):
        checkpoint.load_checkpoint(tmp_path / "evil.pt")
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize("content", [b"", b"no checkpoint", pickle.dumps({"a": 1}, protocol=2)])
def test_something_else_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.pt").write_bytes(content)
    with pytest.raises(FineSpotError, match=r"x.pt"):
        checkpoint.load_checkpoint(tmp_path / "x.pt")


def test_absent_or_foreign(tmp_path: Path) -> None:
    with pytest.raises(FineSpotError, match="no checkpoint to resume from"):
        checkpoint.load_checkpoint(tmp_path / "absent.pt")
    torch.save({"epoch": 3}, tmp_path / "foreign.pt")
    with pytest.raises(FineSpotError, match="expected a checkpoint of format 1 but got None"):
        checkpoint.load_checkpoint(tmp_path / "foreign.pt")


def test_an_interrupt_waits_for_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save = torch.save

    def interrupted(state: object, file: object) -> None:
        signal.raise_signal(signal.SIGINT)
        save(state, file)

    monkeypatch.setattr(torch, "save", interrupted)
    # A shell starts what it runs in the background with interrupts ignored.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            checkpoint.save_checkpoint({**WHOLE, "epoch": 4}, tmp_path / "resume.pt")
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)
    monkeypatch.undo()
    assert checkpoint.load_checkpoint(tmp_path / "resume.pt")["epoch"] == 4
    assert [p.name for p in tmp_path.iterdir()] == ["resume.pt"]


@pytest.mark.slow
def test_a_damaged_file_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "resume.pt"
    checkpoint.save_checkpoint(WHOLE, path)
    whole = path.read_bytes()
    draw = random.Random(0)
    contents = [whole[: int(len(whole) * share)] for share in (0.01, 0.3, 0.9, 0.999)]
    contents += [draw.randbytes(draw.randrange(1, 200)) for _ in range(300)]
    for content in contents:
        path.write_bytes(content)
        with pytest.raises(FineSpotError) as caught:
            checkpoint.load_checkpoint(path)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", checkpoint.NEEDED)
def test_a_part_that_lacks_is_named(tmp_path: Path, name: str) -> None:
    checkpoint.save_checkpoint({key: value for key, value in WHOLE.items() if key != name}, tmp_path / "resume.pt")
    with pytest.raises(FineSpotError, match=rf"not complete \(no usable {name}\)"):
        checkpoint.load_checkpoint(tmp_path / "resume.pt")
