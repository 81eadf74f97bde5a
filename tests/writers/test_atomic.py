"""Safe writing: the new file or the old one, never half; run folders."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from finespot.errors import FineSpotError
from finespot.writers import GrowingFile, check_run, make_folder, new_run, write_atomic


def test_text_bytes_and_new_folders(tmp_path) -> None:
    path = write_atomic(tmp_path / "a" / "b.txt", "größe\n")
    assert path.read_text(encoding="utf-8") == "größe\n"
    assert write_atomic(path, b"\x00\x01", sync=False).read_bytes() == b"\x00\x01"
    assert os.listdir(path.parent) == ["b.txt"]


@pytest.mark.parametrize("call", ["replace", "fsync"])
def test_a_full_disk_keeps_the_old_file(tmp_path, monkeypatch, call) -> None:
    path = write_atomic(tmp_path / "a.txt", "old")

    def full(*args):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, call, full)
    with pytest.raises(FineSpotError, match=r"a\.txt: cannot be written \(No space left"):
        write_atomic(path, "new")
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_sync_has_an_effect(tmp_path, monkeypatch) -> None:
    calls = []
    monkeypatch.setattr(os, "fsync", calls.append)
    write_atomic(tmp_path / "a", "x", sync=False)
    assert not calls
    write_atomic(tmp_path / "a", "x")
    assert len(calls) == 1


class TestGrowingFile:
    def test_the_name_comes_last(self, tmp_path) -> None:
        path = write_atomic(tmp_path / "a" / "b.txt", "old")
        growing = GrowingFile(path)
        growing.write(b"one ")
        assert path.read_text() == "old"
        growing.write(b"two")
        assert growing.close(b" end") == path
        assert path.read_text() == "one two end"
        assert os.listdir(path.parent) == ["b.txt"]

    def test_a_link_stays_one(self, tmp_path) -> None:
        (tmp_path / "link").symlink_to("file")
        GrowingFile(tmp_path / "link").close(b"x")
        assert (tmp_path / "link").is_symlink()
        assert (tmp_path / "file").read_bytes() == b"x"

    @pytest.mark.parametrize("call", ["replace", "fsync"])
    def test_a_full_disk_keeps_the_old_file(self, tmp_path, monkeypatch, call) -> None:
        path = write_atomic(tmp_path / "a.txt", "old")

        def full(*args):
            raise OSError(errno.ENOSPC, "No space left on device")

        growing = GrowingFile(path)
        monkeypatch.setattr(os, call, full)
        with pytest.raises(FineSpotError, match=r"a\.txt: cannot be written \(No space left"):
            growing.close()
        assert path.read_text() == "old"
        assert os.listdir(tmp_path) == ["a.txt"]

    def test_what_cannot_be_written(self, tmp_path) -> None:
        with pytest.raises(FineSpotError, match="expected a file"):
            GrowingFile(tmp_path)
        os.mkfifo(tmp_path / "pipe")
        with pytest.raises(FineSpotError, match="a device or a pipe"):
            GrowingFile(tmp_path / "pipe")


def test_folders_that_cannot_be(tmp_path) -> None:
    (tmp_path / "file").write_text("")
    for call in (lambda p: write_atomic(p / "x", ""), make_folder, lambda p: new_run(p, "run")):
        with pytest.raises(FineSpotError, match="file"):
            call(tmp_path / "file" / "sub")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_folder_without_permission(tmp_path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(FineSpotError, match="permission"):
        make_folder(tmp_path)


def test_runs_are_numbered(tmp_path) -> None:
    names = [new_run(tmp_path / "runs", "demo").name for _ in range(3)]
    assert names == ["demo", "demo2", "demo3"]
    (tmp_path / "runs" / "demo" / "kept.txt").write_text("x")
    again = new_run(tmp_path / "runs", "demo", overwrite=True)
    assert again.name == "demo"
    assert (again / "kept.txt").exists()


def test_runs_started_at_once_differ(tmp_path) -> None:
    found = []
    threads = [threading.Thread(target=lambda: found.append(new_run(tmp_path, "x"))) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(found)) == 20


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a\\b"])
def test_bad_run_names(tmp_path, name) -> None:
    with pytest.raises(FineSpotError, match="name"):
        new_run(tmp_path, name)


def test_a_link_stays_and_its_file_is_replaced(tmp_path) -> None:
    (tmp_path / "there").mkdir()
    target = write_atomic(tmp_path / "there" / "a.txt", "old")
    link, dangling = tmp_path / "link.txt", tmp_path / "new.txt"
    link.symlink_to(target)
    dangling.symlink_to(tmp_path / "there" / "b.txt")
    assert write_atomic(link, "new") == link
    write_atomic(dangling, "made")
    assert link.is_symlink()
    assert dangling.is_symlink()
    assert target.read_text() == "new"
    assert sorted(os.listdir(tmp_path / "there")) == ["a.txt", "b.txt"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_is_written_to_and_stays(tmp_path) -> None:
    pipe, got = tmp_path / "pipe", []
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: got.append(pipe.read_text()))
    reader.start()
    write_atomic(pipe, "text")
    reader.join()
    assert got == ["text"]
    assert stat.S_ISFIFO(pipe.stat().st_mode)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux devices")
def test_a_full_device_is_said(tmp_path) -> None:
    with pytest.raises(FineSpotError, match=r"/dev/full: cannot be written \(No space"):
        write_atomic("/dev/full", "x" * 100_000)
    assert write_atomic("/dev/null", "x") == Path("/dev/null")
    assert not Path("/dev/null").is_file()


@pytest.mark.slow
@pytest.mark.skipif(not Path("/dev/stdout").exists(), reason="needs /dev/stdout")
@pytest.mark.parametrize("name", ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"])
def test_standard_output_in_a_file_is_neither_cut_nor_replaced(tmp_path, name) -> None:
    code = f"""
from finespot.writers import write_atomic
print("before", flush=True)
write_atomic({name!r}, "between\\n")
print("after", flush=True)
"""
    with (tmp_path / "out.txt").open("w") as out:
        subprocess.run([sys.executable, "-c", code], stdout=out, check=True)
    assert (tmp_path / "out.txt").read_text() == "before\nbetween\nafter\n"


def test_runs_that_cannot_be_made_are_known_before(tmp_path) -> None:
    (tmp_path / "file").write_text("")
    check_run(tmp_path / "new" / "runs", "run")
    check_run(tmp_path, "file")  # file2 can be made
    for project, name, options in (
        (tmp_path / "file" / "runs", "run", {}),
        (tmp_path, "a/b", {}),
        (tmp_path, "x" * 300, {}),
        (tmp_path, "file", {"overwrite": True}),
    ):
        for call in (check_run, new_run):
            with pytest.raises(FineSpotError):
                call(project, name, **options)
    assert os.listdir(tmp_path) == ["file"]
