"""What tone a message has: friendly, unkind or advertising. Trained at start on tone.tsv, in a fraction of a second."""

import csv
from pathlib import Path

from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

PHRASES = Path(__file__).with_name("tone.tsv")
# Below this the classifier guesses, and a wrong label hurts more than a missing one.
SURE = 0.5


def train():
    """A classifier of texts, from the phrases that the example carries."""
    with PHRASES.open(encoding="utf-8", newline="") as lines:
        rows = list(csv.reader(lines, delimiter="\t"))
    labels, texts = zip(*rows)
    model = make_pipeline(
        TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 4), sublinear_tf=True),
        LogisticRegression(C=20.0, max_iter=1000),
    )
    return model.fit(texts, labels)


_model = train()


def tone(text):
    """The tone's name and how sure the model is of it, from 0 to 1. An uncertain answer is "friendly"."""
    probabilities = _model.predict_proba([text])[0]
    best = probabilities.argmax()
    label, certainty = str(_model.classes_[best]), float(probabilities[best])
    return (label, certainty) if certainty >= SURE else ("friendly", certainty)
