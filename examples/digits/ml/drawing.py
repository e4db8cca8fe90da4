"""From a person's strokes to the 8x8 images that scikit-learn's digits are.

The data set's own preparation (NIST form-based hand print, see ``sklearn.datasets.load_digits``) scales each
digit to a 32x32 bitmap and counts the inked pixels of every 4x4 block, which gives 8x8 values from 0 to 16. Doing
exactly that with strokes, instead of shrinking the screen's pixels, makes size, place and pen width of a drawing
irrelevant.
"""

from collections.abc import Sequence

import numpy as np

SIDE = 32
"""Pixels of the bitmap's side."""

BLOCK = 4
"""Pixels of a block's side; the image has ``SIDE // BLOCK`` blocks a side."""

PEN_RADIUS = 2.7
"""Half the pen's width in bitmap pixels; about that of the data set's digits."""

_CENTRES = np.stack(np.meshgrid(np.arange(SIDE) + 0.5, np.arange(SIDE) + 0.5), axis=-1).reshape(-1, 2)


def image_of(strokes: Sequence[Sequence[tuple[float, float]]]) -> np.ndarray:
    """Return the 8x8 image, values 0 to 16, of strokes: lists of (x, y) in any unit, y downwards.

    Raises ValueError when there is no point at all.
    """
    points = [np.asarray(stroke, dtype=float).reshape(-1, 2) for stroke in strokes if len(stroke)]
    if not points:
        raise ValueError("the drawing is empty")
    return _blocks(_bitmap(_fitted(points)))


def _fitted(strokes: list[np.ndarray]) -> list[np.ndarray]:
    """Scale and move strokes so that, drawn with the pen, they fill the bitmap's longer side and are centred."""
    points = np.concatenate(strokes)
    low, high = points.min(axis=0), points.max(axis=0)
    extent = float((high - low).max())
    room = SIDE - 2 * PEN_RADIUS
    scale = room / extent if extent > 0 else 0.0
    return [(stroke - (low + high) / 2) * scale + SIDE / 2 for stroke in strokes]


def _bitmap(strokes: list[np.ndarray]) -> np.ndarray:
    """Ink every pixel whose centre lies within the pen's radius of a stroke."""
    inked = np.zeros(SIDE * SIDE, dtype=bool)
    for stroke in strokes:
        starts, ends = (stroke, stroke) if len(stroke) == 1 else (stroke[:-1], stroke[1:])
        for start, end in zip(starts, ends, strict=True):
            along = end - start
            length = float(along @ along)
            share = np.clip((_CENTRES - start) @ along / length, 0, 1) if length > 0 else np.zeros(len(_CENTRES))
            nearest = start + share[:, None] * along
            inked |= ((_CENTRES - nearest) ** 2).sum(axis=1) <= PEN_RADIUS**2
    return inked.reshape(SIDE, SIDE)


def _blocks(bitmap: np.ndarray) -> np.ndarray:
    blocks = SIDE // BLOCK
    return bitmap.reshape(blocks, BLOCK, blocks, BLOCK).sum(axis=(1, 3)).astype(float)
