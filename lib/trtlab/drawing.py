"""Draws 8x8 digits as 224x224 colour pictures from a table of uniform random numbers.

A pure function from numbers to pixels, a batch at a time, on CPU and GPU. Which digit is drawn, and
where the numbers come from, is digits.py's business.

Every layer of a picture is a sprite (a digit, a fragment of one, a bar, a disc) pasted through an
affine map and a colour. Per pixel there are only interpolations, sums and products, so that a
picture does not depend on the batch it is drawn in.
"""

import functools
import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

SIZE = 224
"""Height and width of a picture in pixels."""
NUMBERS = 127
"""Uniform numbers that one picture consumes."""
OTHERS = 4
"""Other digits that appear in one picture: a faint ghost of one, and fragments of the rest."""

_SPRITE = 80  # resolution of a sprite before it is pasted: 8 times the 8x8 digit and its margin
_FRAGMENTS, _BARS, _DISCS = OTHERS - 1, 3, 1
_NOISE, _GRAIN = 384, 8  # edge of the noise texture, and of one grain in it, in pixels


class Numbers:
    """Hands out the columns of a table of uniform numbers in order, scaled to what is drawn.

    `table`: (N, NUMBERS) float32 in [0, 1). The order of the calls is part of the data set: a call
    added in the middle changes every picture.
    """

    def __init__(self, table: Tensor) -> None:
        self._table = table
        self._used = 0

    def __call__(self, low: float, high: float, *shape: int) -> Tensor:
        """Return (N, *shape) numbers, uniform in [low, high)."""
        count = math.prod(shape)
        columns = self._table[:, self._used : self._used + count]
        if columns.shape[1] < count:
            raise ValueError(f"A picture consumes more than NUMBERS = {NUMBERS} numbers.")
        self._used += count
        return low + (high - low) * columns.reshape(-1, *shape)


@torch.no_grad()
def draw(digits: Tensor, others: Tensor, table: Tensor) -> Tensor:
    """Draw one picture per row.

    Args:
        digits: the digit to recognise, (N, 8, 8) float32 in [0, 1].
        others: the digits for ghost and fragments, (N, OTHERS, 8, 8).
        table: uniform numbers, (N, NUMBERS) float32 in [0, 1), on the same device.

    Returns:
        (N, 3, SIZE, SIZE) uint8, as an image file would hold it.
    """
    # On the CPU a few at a time, so that the layers stay in the processor's cache.
    at_once = 8 if table.device.type == "cpu" else max(len(table), 1)
    parts = [tensor.split(at_once) for tensor in (digits, others, table)]
    return torch.cat([_draw(*part) for part in zip(*parts, strict=True)])


def _draw(digits: Tensor, others: Tensor, table: Tensor) -> Tensor:
    u = Numbers(table)
    glyph = _sprites_from_digits(digits[:, None], u)  # (N, 1, 80, 80)
    ghost = _sprites_from_digits(others[:, :1], u)  # (N, 1, 80, 80)
    fragments = _sprites_from_digits(_halves(others[:, 1:], u), u)  # (N, 3, 80, 80)

    level = u(0.15, 0.85)[:, None]  # (N, 1) mean brightness of the background
    picture = _gradient(level[..., None] + u(-0.22, 0.22, 3, 4))  # (N, 3, 224, 224)
    # Clutter first, so that nothing hides the digit.
    _paste_clutter(picture, fragments, level, u)
    # As large as the digit, and told from it by its faintness alone, like ink from the next page.
    colour = level + u(-0.15, 0.15)[:, None] + u(-0.05, 0.05, 3)
    _paste(picture, ghost, _place_digit(u, spread=0.6), colour, u(0.75, 1.0))
    colour = level + _away_from_the_edge(level[:, 0], u(0.2, 0.5))[:, None] + u(-0.1, 0.1, 3)
    _paste(picture, glyph, _place_digit(u, spread=0.25), colour, u(0.75, 1.0))

    contrast = u(0.7, 1.15)
    brightness = 0.5 - 0.5 * contrast + u(-0.08, 0.08)
    picture.mul_(_per_picture(contrast)).add_(_per_picture(brightness))
    picture += _noise_windows(u(0, 1, 3, 2)).mul_(_per_picture(u(0.0, 0.03)))
    return picture.clamp_(0, 1).mul_(255).round_().to(torch.uint8)


def _paste_clutter(picture: Tensor, fragments: Tensor, level: Tensor, u: Numbers) -> None:
    """Scatter the fragments (N, _FRAGMENTS, 80, 80), bars and discs over the picture."""
    shapes = _shapes(picture.device).expand(len(picture), -1, -1, -1)
    clutter = torch.cat([fragments, shapes], dim=1)  # (N, 7, 80, 80)
    for layer in range(clutter.shape[1]):
        is_fragment = layer < _FRAGMENTS
        grid = _placement(
            scale=u(0.22, 0.42) if is_fragment else u(0.25, 0.9),
            turn=u(-0.3, 0.3) if is_fragment else u(-1, 1),
            shear=u(-0.3, 0.3),
            shift=u(-0.95, 0.95, 2),
            aspect=u(0.8, 1.25),
        )
        colour = level + _contrast(u(-0.4, 0.4))[:, None] + u(-0.1, 0.1, 3)
        _paste(picture, clutter[:, layer : layer + 1], grid, colour, u(0.4, 1.0))


def _per_picture(values: Tensor) -> Tensor:
    """Shape one number per picture, (N,), so that it applies to images (N, C, H, W)."""
    return values[:, None, None, None]


def _sprites_from_digits(digits: Tensor, u: Numbers) -> Tensor:
    """Upsample (N, C, 8, 8) digits to smooth (N, C, 80, 80) masks of random stroke weight."""
    smooth = F.interpolate(F.pad(digits, (1, 1, 1, 1)), size=_SPRITE, mode="bicubic")
    ink = _per_picture(u(0.22, 0.5))  # what counts as ink: low is bold, high is thin
    return ((smooth - ink) / 0.2 + 0.5).clamp(0, 1)


def _halves(digits: Tensor, u: Numbers) -> Tensor:
    """Blank one side of each 8x8 digit, so that no piece of clutter is a digit by itself."""
    side = u(0, 4, _FRAGMENTS).long().clamp(max=3)  # (N, _FRAGMENTS): which of the four masks below
    keep = torch.zeros(4, 8, 8, device=digits.device)
    keep[0, :4], keep[1, 4:], keep[2, :, :4], keep[3, :, 4:] = 1, 1, 1, 1
    return digits * keep[side]


@functools.cache
def _shapes(device: torch.device) -> Tensor:
    """Return the masks of the bars and discs, (1, _BARS + _DISCS, 80, 80)."""
    axis = torch.linspace(-1, 1, _SPRITE, device=device)
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    bar = ((0.95 - x.abs()).clamp(max=0.09 - y.abs()) / 0.05).clamp(0, 1)
    disc = ((0.5 - (x * x + y * y)) / 0.1).clamp(0, 1)
    return torch.stack([bar] * _BARS + [disc] * _DISCS)[None]


def _place_digit(u: Numbers, spread: float) -> Tensor:
    """Return the grid of a whole digit, its centre within `spread` of the picture's."""
    return _placement(
        scale=u(0.42, 0.72),
        turn=u(-0.17, 0.17),
        shear=u(-0.3, 0.3),
        shift=u(-spread, spread, 2),
        aspect=u(0.75, 1.3),
    )


def _placement(
    *, scale: Tensor, turn: Tensor, shear: Tensor, shift: Tensor, aspect: Tensor
) -> Tensor:
    """Return the sampling grid (N, SIZE, SIZE, 2) that puts a sprite on the picture.

    `scale` is the sprite's edge as a share of the picture's, `turn` the tangent of half the angle,
    `shift` the centre in [-1, 1]. Written out in sums and products, because the rounding of
    F.affine_grid's matrix product, and of cos and sin, depends on the batch size.
    """
    cos, sin = (1 - turn * turn) / (1 + turn * turn), 2 * turn / (1 + turn * turn)
    wide, high = scale * aspect.sqrt(), scale / aspect.sqrt()
    # The inverse map, from picture to sprite: shift back, rotate back, shear, divide by the scale.
    axis = torch.linspace(-1, 1, SIZE, device=scale.device)
    x, y = axis - shift[:, :1], axis - shift[:, 1:]  # (N, 224) each
    grid = torch.empty(len(scale), SIZE, SIZE, 2, device=scale.device)
    for axis_out, by_x, by_y in (
        (0, (cos + shear * sin) / wide, (sin - shear * cos) / wide),
        (1, -sin / high, cos / high),
    ):
        columns, rows = by_x[:, None] * x, by_y[:, None] * y
        torch.add(columns[:, None, :], rows[:, :, None], out=grid[..., axis_out])
    return grid


def _paste(picture: Tensor, mask: Tensor, grid: Tensor, colour: Tensor, opacity: Tensor) -> None:
    """Blend `colour` (N, 3) into `picture` where the placed `mask` (N, 1, 80, 80) covers it."""
    # Scaling the small mask is scaling the large cover.
    cover = F.grid_sample(mask * _per_picture(opacity), grid, align_corners=False)
    picture += (colour[:, :, None, None] - picture).mul_(cover)


def _gradient(corners: Tensor) -> Tensor:
    """Spread the colours of four corners (N, 3, 4) over pictures (N, 3, SIZE, SIZE)."""
    ramp = torch.linspace(0, 1, SIZE, device=corners.device)
    left, right = corners[..., 0::2, None], corners[..., 1::2, None]  # (N, 3, 2, 1)
    rows = left + (right - left) * ramp  # (N, 3, 2, 224)
    top, bottom = rows[:, :, :1], rows[:, :, 1:]
    return top + (bottom - top) * ramp[:, None]


def _contrast(difference: Tensor) -> Tensor:
    """Push a brightness difference away from zero, so that every layer can be seen."""
    return difference + 0.1 * difference.sign()


def _away_from_the_edge(level: Tensor, difference: Tensor) -> Tensor:
    """Give `difference` the sign that keeps `level + difference` inside [0, 1]."""
    return torch.where(level < 0.5, difference, -difference)


@functools.cache
def _noise_texture(device: torch.device) -> Tensor:
    """Return a (_NOISE, _NOISE) texture of noise, standard deviation about 1, a few pixels coarse.

    Coarse, as noise is after a lens and a JPEG encoder: there is none at the scale of a pixel, so
    that white noise is nothing like the pictures. Cut from one seeded texture, because the random
    generators of devices differ.
    """
    edge = _NOISE // _GRAIN
    numbers = np.random.Generator(np.random.Philox(key=[0, SIZE])).random((1, 1, edge, edge))
    coarse = torch.from_numpy((numbers * math.sqrt(12) - math.sqrt(3)).astype(np.float32))
    return F.interpolate(coarse, size=_NOISE, mode="bicubic")[0, 0].to(device)


def _noise_windows(corner: Tensor) -> Tensor:
    """Cut a window per picture and channel: corners (N, 3, 2) in [0, 1) -> (N, 3, SIZE, SIZE)."""
    windows = _noise_texture(corner.device).unfold(0, SIZE, 1).unfold(1, SIZE, 1)
    # float32 has no number just below 1 times the size, so the last index could be one too far.
    index = (corner * windows.shape[0]).long().clamp(max=windows.shape[0] - 1)
    return windows[index[..., 0], index[..., 1]]
