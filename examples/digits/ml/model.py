"""A classifier of hand-written digits, trained in about a second on the data that scikit-learn ships."""

from functools import cache

import numpy as np
from scipy import ndimage
from sklearn.datasets import load_digits
from sklearn.ensemble import ExtraTreesClassifier, VotingClassifier
from sklearn.neighbors import KNeighborsClassifier

TILTS_DEGREES = (-12, 12)
"""Slants that people draw with and the data set has few of."""


def data() -> tuple[np.ndarray, np.ndarray]:
    """Return images of 8x8 pixels from 0 to 16, and the digit that each shows."""
    samples, labels = load_digits(return_X_y=True)
    return np.reshape(samples, (-1, 8, 8)), np.asarray(labels)


def train() -> VotingClassifier:
    """Return a fitted classifier over flattened 8x8 images, with ``predict_proba``."""
    images, labels = data()
    tilted = [
        np.clip(ndimage.rotate(images, angle, axes=(2, 1), reshape=False, order=1), 0, 16)
        for angle in TILTS_DEGREES
    ]
    samples = np.concatenate([images, *tilted]).reshape(-1, 64)
    # Neighbours know drawings like one in the data set, trees generalise: together they are right more often.
    model = VotingClassifier(
        [
            ("neighbours", KNeighborsClassifier(5, weights="distance")),
            ("trees", ExtraTreesClassifier(150, random_state=7)),
        ],
        voting="soft",
    )
    return model.fit(samples, np.tile(labels, 1 + len(tilted)))


@cache
def middle_of(digit: int) -> tuple[int, list[list[float]]]:
    """Return how many samples of a digit there are, and the mean of them as rows of ink from 0 to 1."""
    images, labels = data()
    chosen = images[labels == digit]
    return len(chosen), (chosen.mean(axis=0) / 16).round(2).tolist()
