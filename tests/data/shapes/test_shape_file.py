"""Shape files come back as they were, or not at all."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finespot.data.shapes.file import encode, read, read_header, unpack
from finespot.errors import FineSpotError

ABOUT = {"model": "some/model", "truth": "ab" * 16, "objects": 3, "whole": 1}


def random_mask(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((height, width)) < 0.3


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 9), st.data())
def test_masks_and_their_windows_come_back(height: int, width: int, seed: int, data: st.DataObject) -> None:
    mask = random_mask(height, width, seed)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "a.shape")
        made, content = encode(mask, **ABOUT)
        path.write_bytes(content)
        header, bits = read(path)
        assert header == made == read_header(path)
    assert (header.height, header.width) == mask.shape
    assert (header.model, header.truth, header.objects, header.whole) == tuple(ABOUT.values())
    np.testing.assert_array_equal(unpack(bits, (0, 0, width, height)), mask)
    x1, y1 = data.draw(st.integers(0, width - 1)), data.draw(st.integers(0, height - 1))
    x2, y2 = data.draw(st.integers(x1 + 1, width)), data.draw(st.integers(y1 + 1, height))
    np.testing.assert_array_equal(unpack(bits, (x1, y1, x2, y2)), mask[y1:y2, x1:x2])


def test_large_masks_take_little_space() -> None:
    mask = np.zeros((1080, 1920), bool)
    for x in range(100, 1800, 100):
        mask[500:520, x : x + 30] = True
    assert len(encode(mask, **ABOUT)[1]) < 2000


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(st.data())
def test_broken_files_are_errors_never_other_masks(data: st.DataObject) -> None:
    mask = random_mask(9, 21)
    content = bytearray(encode(mask, **ABOUT)[1])
    kind = data.draw(st.sampled_from(["cut", "flip", "grow", "replace"]))
    place = data.draw(st.integers(0, len(content) - 1))
    if kind == "cut":
        del content[place:]
    elif kind == "flip":
        content[place] ^= 1 << data.draw(st.integers(0, 7))
    elif kind == "grow":
        content += data.draw(st.binary(min_size=1, max_size=9))
    else:
        content = bytearray(data.draw(st.binary(max_size=80)))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "a.shape")
        path.write_bytes(content)
        with pytest.raises(FineSpotError, match=r"a\.shape: the shape file is broken .*--overwrite") as caught:
            read(path)
        assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_no_single_bit_can_change(tmp_path: Path) -> None:
    content = encode(random_mask(9, 21), **ABOUT)[1]
    path = tmp_path / "a.shape"
    for bit in range(8 * len(content)):
        changed = bytearray(content)
        changed[bit // 8] ^= 1 << bit % 8
        path.write_bytes(changed)
        with pytest.raises(FineSpotError, match="broken"):
            read(path)


@pytest.mark.parametrize("read_it", [read, read_header])
def test_cut_files_and_strange_ones(tmp_path: Path, read_it: object) -> None:
    content = encode(random_mask(9, 21), **ABOUT)[1]
    path = tmp_path / "a.shape"
    for wrong, said in (
        (content[:-1], "broken"),
        (content[:40], "a whole header"),
        (content[:10], "the start of a shape file"),
        (content + b"x", "broken"),
        (b"", "the start of a shape file"),
        (content[:8] + b"\x02" + content[9:], "format version 1, not 2"),
    ):
        path.write_bytes(wrong)
        with pytest.raises(FineSpotError, match=said):
            read_it(path)  # type: ignore[operator]
    with pytest.raises(FineSpotError, match=r"b\.shape: the shape file cannot be read \(No such file"):
        read_it(tmp_path / "b.shape")  # type: ignore[operator]


def test_rows_that_are_not_the_picture_s_are_refused(tmp_path: Path) -> None:
    """A header and rows that are whole, each for itself, but not of one picture."""
    import msgspec

    from finespot.data.shapes import file

    header, content = encode(random_mask(9, 21), **ABOUT)
    rows = content[-header.nbytes :]
    for height, width in ((8, 21), (10, 21), (9, 29)):
        text = msgspec.json.encode(msgspec.structs.replace(header, height=height, width=width))
        start = file._START.pack(file._MAGIC, 1, len(text), file.zlib.crc32(text))
        (tmp_path / "a.shape").write_bytes(start + text + rows)
        with pytest.raises(FineSpotError, match=f"{height} rows of {width} pixels"):
            read(tmp_path / "a.shape")
