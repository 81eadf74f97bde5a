"""Equal and nearly equal pictures: against a slow twin, after what people do to pictures, and in processes."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from check_factory import save, scene
from hypothesis import given, settings
from hypothesis import strategies as st

from finespot.data.check import copies
from finespot.data.check.copies import LEAST_LIKENESS, MOST_SIGNS, Likeness, contents, near_twins
from finespot.data.check.inspection import Facts, inspect, inspect_all
from finespot.errors import FineSpotError


def facts_of(signs: int, seed: int) -> Facts:
    gray = np.random.default_rng(seed).integers(0, 256, 256, dtype=np.uint8)
    return Facts(digest=b"x", signs=signs, miniature=gray.tobytes())


def slow_twins(facts: list[Facts], home: np.ndarray) -> list[list[int]]:
    """For each file how many signs the nearest earlier twin has other: in its own and in an earlier split."""
    grays = [np.frombuffer(one.miniature, np.uint8).astype(float) for one in facts]
    found = [[65] * len(facts), [65] * len(facts)]
    for b in range(len(facts)):
        for a in range(b):
            apart = (facts[a].signs ^ facts[b].signs).bit_count()
            side = int(home[a] != home[b])
            if apart <= MOST_SIGNS and np.corrcoef(grays[a], grays[b])[0, 1] >= LEAST_LIKENESS:
                found[side][b] = min(found[side][b], apart)
    return found


# A few hashes close to each other, with one of three miniatures.
SIGNS = st.lists(st.integers(0, 63), max_size=9).map(lambda bits: sum({1 << bit for bit in bits}))
FILES = st.lists(st.tuples(SIGNS, st.integers(0, 2)), max_size=12)


@pytest.mark.slow
@given(FILES, st.integers(0, 12))
@settings(max_examples=80, deadline=None)
def test_twins_are_those_of_a_slow_search(files: list[tuple[int, int]], border: int) -> None:
    facts = [facts_of(signs, seed) for signs, seed in files]
    home = (np.arange(len(facts)) >= border).astype(np.int64)
    twins = near_twins(facts, np.arange(len(facts)), home, Likeness(facts))
    for found, expected in zip(twins, slow_twins(facts, home)):
        for b, apart in enumerate(expected):
            assert (found[b] >= 0) == (apart <= MOST_SIGNS)
            if found[b] >= 0:
                assert (facts[found[b]].signs ^ facts[b].signs).bit_count() == apart


@pytest.mark.slow
def test_many_equal_frames_cost_no_more_than_the_reach(monkeypatch: pytest.MonkeyPatch) -> None:
    compared = 0
    count_bits = copies._count_bits

    def count(words: np.ndarray) -> np.ndarray:
        nonlocal compared
        compared += len(words)
        return count_bits(words)

    monkeypatch.setattr(copies, "_count_bits", count)
    number = 3000
    facts = [facts_of(0, 1)] * number
    inside, across = near_twins(facts, np.arange(number), np.zeros(number, np.int64), Likeness(facts))
    assert (inside[1:] >= 0).all()
    assert inside[0] == -1
    assert (across == -1).all()
    assert compared <= number * copies.REACH * (MOST_SIGNS + 1)


def test_pictures_without_contrast_have_no_twins() -> None:
    facts = [Facts(digest=b"x", signs=5, miniature=bytes([90] * 256))] * 3
    inside, _ = near_twins(facts, np.arange(3), np.zeros(3, np.int64), Likeness(facts))
    assert (inside == -1).all()


def jpeg(picture: PIL.Image.Image, quality: int) -> PIL.Image.Image:
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=quality)
    return PIL.Image.open(stream)


CHANGES = {
    "compressed": lambda picture: jpeg(picture, 30),
    "halved": lambda picture: picture.resize((picture.width // 2, picture.height // 2)),
    "doubled": lambda picture: picture.resize((picture.width * 2, picture.height * 2)),
    "brighter": lambda picture: picture.point(lambda value: int(0.85 * value + 20)),
    "gray": lambda picture: picture.convert("L"),
}


@pytest.mark.slow
@pytest.mark.parametrize("change", list(CHANGES))
def test_a_changed_copy_is_still_a_twin(change: str, tmp_path: Path) -> None:
    for seed in range(20):
        picture = PIL.Image.fromarray(scene(seed, (240, 320)))
        picture.save(tmp_path / f"{seed}.png")
        CHANGES[change](picture).save(tmp_path / f"{seed}_changed.png")
    paths = [str(tmp_path / f"{seed}{end}.png") for seed in range(20) for end in ("", "_changed")]
    facts = inspect_all(paths, decode=True, workers=1)
    inside, _ = near_twins(facts, contents(paths, facts), np.zeros(40, np.int64), Likeness(facts))
    assert inside.tolist() == [number - 1 if number % 2 else -1 for number in range(40)]


@pytest.mark.slow
def test_other_pictures_are_no_twins(tmp_path: Path) -> None:
    paths = [str(tmp_path / f"{seed}.png") for seed in range(150)]
    for seed, path in enumerate(paths):
        save(Path(path), scene(seed))
    facts = inspect_all(paths, decode=True, workers=1)
    twins = near_twins(facts, contents(paths, facts), np.zeros(150, np.int64), Likeness(facts))
    assert (np.array(twins) == -1).all()


def test_contents(tmp_path: Path) -> None:
    # Equal sizes and equal ends: only the middle tells the second and third apart.
    data = bytes(20_000)
    files = {"a": data, "b": data[:9000] + b"x" + data[9001:], "c": data, "d": b"", "e": b"", "f": data[:-1]}
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    paths = [str(tmp_path / name) for name in files]
    assert contents(paths, [Facts()] * 6).tolist() == [0, 1, 0, 3, 3, 5]
    pixels = [Facts(digest=b"1"), Facts(digest=b"2"), Facts(digest=b"1"), Facts(), Facts(digest=b"2"), Facts()]
    assert contents(paths, pixels).tolist() == [0, 1, 0, 3, 1, 5]
    (tmp_path / "e").unlink()
    assert contents(paths, [Facts()] * 6).tolist() == [0, 1, 0, 3, 4, 5]


@pytest.mark.slow
def test_processes_find_the_same(tmp_path: Path) -> None:
    paths = [str(tmp_path / f"{seed:03}.png") for seed in range(80)]
    for seed, path in enumerate(paths):
        save(Path(path), scene(seed % 70, (40, 60)))
    Path(paths[5]).write_bytes(b"")
    Path(paths[9]).write_bytes(Path(paths[9]).read_bytes()[:200])
    told: list[int] = []

    def watch(found: Iterable[Facts], total: int) -> Iterator[Facts]:
        told.append(total)
        for one in found:
            yield one
            told.append(1)

    one = inspect_all(paths, decode=True, workers=1)
    two = inspect_all(paths, decode=True, workers=2, watch=watch)
    assert one == two
    assert told == [80] + 80 * [1]
    assert inspect_all([], decode=True, watch=watch) == []
    assert [number for number, facts in enumerate(one) if facts.error] == [5, 9]
    assert inspect_all(paths, decode=False, workers=2)[9].error == ""


def die(paths: list[str], decode: bool) -> list[Facts]:
    import os

    os._exit(1)


def test_a_process_that_is_ended_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("finespot.data.check.inspection._inspect_some", die)
    with pytest.raises(FineSpotError, match="was ended from outside"):
        inspect_all([str(tmp_path)] * 100, decode=True, workers=2)


def test_inspection(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    save(path, scene(1)[..., 0].astype(np.uint16) * 257)
    facts = inspect(str(path), True)
    assert (facts.error, facts.format, facts.channels, facts.bit_depth) == ("", "PNG", 1, 16)
    assert len(facts.miniature) == 256
    assert inspect(str(path), False)._replace(digest=b"", signs=0, miniature=b"") == facts._replace(
        digest=b"", signs=0, miniature=b""
    )
    assert "no such file" in inspect(str(tmp_path / "b.png"), False).error
