"""Opening pictures: every kind that is read, and every way in which a file can be none."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import PIL.Image
import PIL.ImageOps
import PIL.PngImagePlugin
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finespot.errors import FineSpotError
from finespot.images import exif_orientation, find_images, from_pillow, open_image

RNG = np.random.default_rng(0)
RGB = RNG.integers(0, 256, (11, 17, 3), dtype=np.uint8)
SMOOTH = np.add.outer(np.arange(40), np.arange(60)).astype(np.uint8)


def save(path: Path, pixels: np.ndarray, **options: object) -> Path:
    PIL.Image.fromarray(pixels).save(path, **options)
    return path


@pytest.mark.parametrize("name", ["a.png", "a.bmp", "a.tif", "a.ppm", "a.webp"])
def test_lossless_kinds_come_back(tmp_path: Path, name: str) -> None:
    options = {"lossless": True} if name.endswith("webp") else {}
    image = open_image(save(tmp_path / name, RGB, **options))
    assert (image.size, image.channels, image.bit_depth) == ((11, 17), 3, 8)
    np.testing.assert_array_equal(image.read(None), RGB)
    np.testing.assert_array_equal(image.read((3, 2, 9, 10)), RGB[2:10, 3:9])


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_jpeg_as_pillow_decodes_it(tmp_path: Path, mode: str) -> None:
    path = tmp_path / "a.jpg"
    PIL.Image.fromarray(SMOOTH).convert(mode).save(path, quality=80)
    image = open_image(path)
    pixels = image.read(None)
    assert image.channels == (1 if mode == "L" else 3)
    assert pixels.shape == (40, 60, image.channels)
    theirs = np.asarray(PIL.Image.open(path)).reshape(pixels.shape).astype(int)
    assert np.abs(pixels - theirs).max() <= 1


def test_progressive_jpeg_and_wrong_extension(tmp_path: Path) -> None:
    path = tmp_path / "picture.png"
    PIL.Image.fromarray(SMOOTH).save(path, format="JPEG", progressive=True)
    assert open_image(path).read(None).shape == (40, 60, 1)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["jpg", "png", "tif"])
def test_exif_orientation(tmp_path: Path, orientation: int, kind: str) -> None:
    path = tmp_path / f"a.{kind}"
    picture = PIL.Image.fromarray(SMOOTH).convert("RGB")
    exif = PIL.Image.Exif()
    exif[0x0112] = orientation
    picture.save(path, exif=exif)
    image = open_image(path)
    upright = np.asarray(PIL.ImageOps.exif_transpose(PIL.Image.open(path)))
    assert image.size == upright.shape[:2] == ((60, 40) if orientation >= 5 else (40, 60))
    assert np.abs(image.read(None).astype(int) - upright).max() <= 1
    assert np.abs(image.read((1, 2, 30, 33)).astype(int) - upright[2:33, 1:30]).max() <= 1


def test_the_header_of_a_png_is_read_without_its_pixels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    picture = PIL.Image.fromarray(SMOOTH)
    picture.save(tmp_path / "plain.png")
    picture.save(tmp_path / "turned.png", exif=exif)
    monkeypatch.setattr(PIL.PngImagePlugin.PngImageFile, "load", lambda self: pytest.fail("the picture is decoded"))
    assert open_image(tmp_path / "plain.png").size == (40, 60)
    assert open_image(tmp_path / "turned.png").size == (60, 40)


def test_exif_behind_the_pixels_of_a_png_is_not_looked_for(tmp_path: Path) -> None:
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    path = tmp_path / "a.png"
    PIL.Image.fromarray(SMOOTH).save(path, exif=exif)
    data = path.read_bytes()
    start = data.index(b"eXIf") - 4
    end = start + 12 + int.from_bytes(data[start : start + 4], "big")
    path.write_bytes(data[:start] + data[end:-12] + data[start:end] + data[-12:])
    image = open_image(path)
    assert image.size == image.read(None).shape[:2] == (40, 60)


@given(cut=st.integers(0, 60), junk=st.binary(max_size=8))
@settings(max_examples=60, deadline=None)
def test_damaged_exif_counts_as_upright_or_is_read(cut: int, junk: bytes) -> None:
    exif = PIL.Image.Exif()
    exif[0x0112], exif[0x010E], exif[0x8769] = 6, "a text", {0x9003: "2024"}
    stream = io.BytesIO()
    PIL.Image.fromarray(SMOOTH).save(stream, "JPEG", exif=exif.tobytes()[:cut] + junk)
    with PIL.Image.open(stream) as header:
        assert 1 <= exif_orientation(header) <= 8


@pytest.mark.parametrize("kind", ["png", "tif"])
def test_sixteen_bits_stay(tmp_path: Path, kind: str) -> None:
    deep = RNG.integers(0, 65536, (7, 9), dtype=np.uint16)
    image = open_image(save(tmp_path / f"a.{kind}", deep))
    assert (image.bit_depth, image.channels) == (16, 1)
    pixels = image.read(None)
    assert pixels.dtype == np.uint16
    np.testing.assert_array_equal(pixels[..., 0], deep)


def test_alpha_is_dropped_not_mixed(tmp_path: Path) -> None:
    alpha = np.dstack([RGB, RNG.integers(0, 256, (11, 17, 1), dtype=np.uint8)])
    np.testing.assert_array_equal(open_image(save(tmp_path / "a.png", alpha)).read(None), RGB)
    gray = PIL.Image.merge("LA", [PIL.Image.fromarray(RGB[..., 0]), PIL.Image.fromarray(alpha[..., 3])])
    gray.save(tmp_path / "b.png")
    image = open_image(tmp_path / "b.png")
    assert image.channels == 1
    np.testing.assert_array_equal(image.read(None)[..., 0], RGB[..., 0])


def test_palette_bilevel_and_cmyk(tmp_path: Path) -> None:
    flat = np.where(RGB > 127, 255, 0).astype(np.uint8)
    PIL.Image.fromarray(flat).convert("P", palette=PIL.Image.Palette.WEB).save(tmp_path / "p.png")
    np.testing.assert_array_equal(open_image(tmp_path / "p.png").read(None), flat)
    PIL.Image.fromarray(flat[..., 0]).convert("1").save(tmp_path / "one.png")
    image = open_image(tmp_path / "one.png")
    assert image.channels == 1
    np.testing.assert_array_equal(image.read(None)[..., 0], flat[..., 0])
    PIL.Image.new("CMYK", (8, 6), (0, 255, 255, 0)).save(tmp_path / "c.jpg", quality=95)
    image = open_image(tmp_path / "c.jpg")
    assert image.channels == 3
    np.testing.assert_allclose(image.read(None)[3, 3], (255, 0, 0), atol=3)


@pytest.mark.slow
def test_large_pictures_are_not_taken_for_bombs(tmp_path: Path) -> None:
    PIL.Image.new("1", (20000, 10000)).save(tmp_path / "big.png")
    assert open_image(tmp_path / "big.png").size == (10000, 20000)


def broken_files(folder: Path) -> dict[str, Path]:
    noise = PIL.Image.fromarray(RNG.integers(0, 256, (90, 120, 3), dtype=np.uint8))
    files = {}
    for kind in ("JPEG", "PNG", "BMP", "TIFF", "WEBP"):
        buffer = io.BytesIO()
        noise.save(buffer, format=kind)
        files[f"half.{kind.lower()}"] = buffer.getvalue()[: len(buffer.getvalue()) // 2]
    buffer = io.BytesIO()
    noise.save(buffer, format="JPEG")
    whole = buffer.getvalue()
    files["no_end.jpg"] = whole[:-40]
    files["hole.jpg"] = whole[:3000] + b"\xff\xd9" * 50 + whole[3100:]
    files["empty.jpg"] = b""
    files["text.png"] = b"this is a text"
    files["header_only.jpg"] = whole[:4]
    return {name: _write(folder / name, data) for name, data in files.items()}


def _write(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def test_broken_files_are_refused_in_one_line_that_names_them(tmp_path: Path) -> None:
    for name, path in broken_files(tmp_path).items():
        with pytest.raises(FineSpotError) as caught:
            open_image(path).read(None)
        assert name in str(caught.value), name
        assert "\n" not in str(caught.value)


def test_what_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(FineSpotError, match=r"absent\.jpg: .*no such file"):
        open_image(tmp_path / "absent.jpg")
    with pytest.raises(FineSpotError, match="got a folder"):
        open_image(tmp_path)
    PIL.Image.fromarray(np.zeros((4, 4), np.float32)).save(tmp_path / "deep.tif")
    with pytest.raises(FineSpotError, match="8 or 16 bits but got 32"):
        open_image(tmp_path / "deep.tif")


def test_changed_file_and_bad_window(tmp_path: Path) -> None:
    image = open_image(save(tmp_path / "a.png", RGB))
    with pytest.raises(FineSpotError, match="window inside 17x11"):
        image.read((0, 0, 18, 11))
    save(tmp_path / "a.png", RGB[:5])
    with pytest.raises(FineSpotError, match="has changed"):
        image.read(None)
    (tmp_path / "a.png").unlink()
    with pytest.raises(FineSpotError, match="no such file"):
        image.read(None)


def test_find_images_is_recursive_and_bytewise(tmp_path: Path) -> None:
    for name in ("b/1.JPG", "B/2.png", "a-1.tif", "a/1.jpg", "a.txt", ".hidden.jpg", "é.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "a" / "up").symlink_to(tmp_path)
    names = [path.relative_to(tmp_path).as_posix() for path in find_images(tmp_path)]
    assert names == ["B/2.png", "a-1.tif", "a/1.jpg", "b/1.JPG", "é.jpg"]
    assert find_images(tmp_path, {".txt"}) == [tmp_path / "a.txt"]
    with pytest.raises(FineSpotError, match="no_folder"):
        find_images(tmp_path / "no_folder")


@pytest.mark.parametrize("mode", ["L", "1", "LA", "RGB", "RGBA", "P", "CMYK", "I;16"])
def test_pictures_in_memory_are_read_like_files(tmp_path: Path, mode: str) -> None:
    picture = PIL.Image.fromarray(SMOOTH if mode == "I;16" else RGB)
    picture = PIL.Image.fromarray(SMOOTH.astype(np.uint16) * 200) if mode == "I;16" else picture.convert(mode)
    path = tmp_path / ("a.tif" if mode == "CMYK" else "a.png")
    picture.save(path)
    np.testing.assert_array_equal(from_pillow(picture, "x"), open_image(path).read(None))
    with PIL.Image.open(path) as opened:
        np.testing.assert_array_equal(from_pillow(opened, "x"), open_image(path).read(None))


@pytest.mark.parametrize("mode", ["I", "F"])
def test_pictures_of_32_bits_are_refused_in_memory_too(tmp_path: Path, mode: str) -> None:
    """Converted to 8 bits, all values above 255 would become white."""
    picture = PIL.Image.fromarray(SMOOTH.astype(np.int32) * 500).convert(mode)
    with pytest.raises(FineSpotError, match=rf"x: expected samples of 8 or 16 bits but got 32 \(mode {mode}\)"):
        from_pillow(picture, "x")
    picture.save(tmp_path / "a.tif")
    with pytest.raises(FineSpotError, match="8 or 16 bits but got 32"):
        open_image(tmp_path / "a.tif")


def test_a_damaged_picture_in_memory(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", RGB)
    path.write_bytes(path.read_bytes()[:-300])
    with PIL.Image.open(path) as opened, pytest.raises(FineSpotError, match="damaged"):
        from_pillow(opened, "a.png")


@pytest.mark.slow
def test_damaged_exif_brings_no_warning(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    exif = b"Exif\x00\x00MM\x00*\x00\x00\x00\x08\x00\x05\x01\x0e\x00\x02\x00\x00\x99\x99\x00\x00\x99\x99\x00"
    PIL.Image.new("RGB", (8, 8)).save(path, exif=exif)
    code = f"from finespot.images import open_image; print(open_image({str(path)!r}).size)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout.strip(), done.stderr) == ("(8, 8)", "")
