"""A student's PNG files, made harmless: decoded within bounds and encoded again.

What goes into a page is what Pillow made of the pixels, never the bytes that came.
"""

import base64
import io
import warnings
from collections.abc import Iterable
from dataclasses import dataclass

from markupsafe import Markup
from PIL import Image

MOST_PICTURES = 12
MOST_BYTES = 8 << 20  # of a file that came
MOST_PIXELS = 24_000_000
WIDEST = 1400  # pixels, and tallest; larger ones are scaled down


class PictureError(ValueError):
    """A file is not a PNG image, or larger than what is shown."""


@dataclass(frozen=True)
class Picture:
    """A picture for a page: a data URI, or why there is none.

    Attributes:
        title: as the caller gave it; a student may have chosen it.
        uri: "data:image/png;base64,..."; None if it cannot be shown.
        width, height: pixels.
        problem: why it cannot be shown.
    """

    title: str
    uri: Markup | None
    width: int = 0
    height: int = 0
    problem: str = ""


def pictures(charts: Iterable[tuple[str, bytes]]) -> list[Picture]:
    """Return the first MOST_PICTURES charts, each as (title, PNG file), fit for a page."""
    return [_picture(title, data) for title, data in list(charts)[:MOST_PICTURES]]


def _picture(title: str, data: bytes) -> Picture:
    try:
        image = decode(data)
    except PictureError as error:
        return Picture(title, None, problem=str(error))
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", optimize=True)
    encoded = base64.b64encode(buffer.getvalue()).decode()
    return Picture(title, Markup(f"data:image/png;base64,{encoded}"), *image.size)


def decode(data: bytes) -> Image.Image:
    """Return the pixels of a PNG file on white, without any metadata, no larger than WIDEST.

    Raises:
        PictureError: if it is no PNG image, damaged, or too large.
    """
    if len(data) > MOST_BYTES:
        raise PictureError(f"the file has {len(data):,} bytes, and may have {MOST_BYTES:,}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # Pillow warns of decompression bombs
            with Image.open(io.BytesIO(data), formats=("PNG",)) as image:
                width, height = image.size
                if width * height > MOST_PIXELS:
                    raise PictureError(f"it has {width} x {height} pixels, which is too many")
                pixels = image.convert("RGBA")
    except PictureError:
        raise
    # Pillow raises many kinds of exceptions on damaged files, and which is not documented.
    except Exception as error:
        raise PictureError("it is not a PNG image that can be read") from error
    pixels.thumbnail((WIDEST, WIDEST))
    ground = Image.new("RGB", pixels.size, "white")
    ground.paste(pixels, mask=pixels.getchannel("A"))
    return ground
