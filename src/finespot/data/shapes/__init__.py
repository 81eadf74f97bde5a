"""Shapes of the objects of a data set: made once by a segmenter, kept in files, read with the pictures."""

from finespot.data.shapes.folder import Shapes
from finespot.data.shapes.make import Plan, make_shapes, plan_shapes
from finespot.data.shapes.segmenter import Segmenter

__all__ = ["Plan", "Segmenter", "Shapes", "make_shapes", "plan_shapes"]
