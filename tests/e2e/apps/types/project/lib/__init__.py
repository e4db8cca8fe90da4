from .shapes import Shape
