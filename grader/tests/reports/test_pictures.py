"""Students' PNG files: what gets into a page is pixels, and only so many."""

import base64
import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from trtlab_grader.reports.pictures import (
    MOST_BYTES,
    MOST_PICTURES,
    WIDEST,
    PictureError,
    decode,
    pictures,
)


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format=kind, **options)
    return buffer.getvalue()


def noise(width: int = 60, height: int = 40) -> Image.Image:
    values = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(values)


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def of_size(width: int, height: int) -> bytes:
    """Return a PNG that claims a size and holds next to nothing."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def shown(data: bytes) -> bytes:
    (picture,) = pictures([("chart", data)])
    assert picture.uri is not None
    return base64.b64decode(picture.uri.removeprefix("data:image/png;base64,"))


def test_the_pixels_survive_and_nothing_else_does() -> None:
    secret = "<script>alert(1)</script>"
    info = PngInfo()
    info.add_text("Comment", secret)
    info.add_itxt("XML:com.adobe.xmp", secret)
    image = noise()
    data = encoded(image, pnginfo=info, icc_profile=secret.encode(), exif=b"Exif\0\0" + b"x" * 20)
    data += secret.encode()  # behind the end
    assert secret.encode() in data
    cleaned = shown(data)
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(cleaned))), np.asarray(image))
    assert b"script" not in cleaned
    kinds = [cleaned[at - 4 : at] for at in range(4, len(cleaned)) if cleaned[at - 4 : at] in
             (b"tEXt", b"iTXt", b"zTXt", b"iCCP", b"eXIf")]  # fmt: skip
    assert kinds == []


def test_transparent_pixels_become_white() -> None:
    image = Image.new("RGBA", (2, 1), (255, 0, 0, 0))
    image.putpixel((1, 0), (0, 0, 255, 255))
    assert np.asarray(decode(encoded(image))).tolist() == [[[255, 255, 255], [0, 0, 255]]]


def test_a_large_picture_is_scaled_down_in_proportion() -> None:
    (picture,) = pictures([("chart", encoded(Image.new("L", (3000, 1500))))])
    assert (picture.width, picture.height) == (WIDEST, WIDEST // 2)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>",
        encoded(noise(), "JPEG"),
        encoded(noise(), "GIF"),
        encoded(noise())[:200],
        encoded(noise())[:-30],
        b"\x89PNG\r\n\x1a\n" + b"\xff" * 100,
        of_size(0, 0),
        of_size(40, 40),
    ],
    ids=["empty", "svg", "jpeg", "gif", "cut", "no end", "garbage", "no size", "too few pixels"],
)
def test_what_is_no_whole_png_is_named_and_not_shown(data: bytes) -> None:
    (picture,) = pictures([("chart", data)])
    assert picture.uri is None
    assert picture.problem == "it is not a PNG image that can be read"


def test_bombs_are_refused_before_they_are_unpacked() -> None:
    for size in ((6000, 5000), (20_000, 20_000), (2**31 - 1, 2**31 - 1)):
        with pytest.raises(PictureError):
            decode(of_size(*size))
    with pytest.raises(PictureError, match="bytes"):
        decode(encoded(noise()) + b"\0" * MOST_BYTES)
    info = PngInfo()
    info.add_text("Comment", "x" * 80_000_000, zip=True)
    with pytest.raises(PictureError):
        decode(encoded(noise(), pnginfo=info))


def test_no_more_than_so_many_pictures_are_shown() -> None:
    assert len(pictures([("chart", b"")] * 100)) == MOST_PICTURES
