"""Makes a thumbnail of a picture and gives its pixels, 0 to 1."""

from base64 import b64decode
from io import BytesIO

from PIL import Image


def run(picture):
    with Image.open(BytesIO(b64decode(picture)), formats=["PNG"]) as image:
        thumbnail = image.resize((32, 24), Image.Resampling.LANCZOS)
    return [value / 255 for value in thumbnail.tobytes()]
