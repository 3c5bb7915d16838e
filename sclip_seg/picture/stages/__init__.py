"""Stages that go with any method: they revise the scores of a picture before they are stitched."""

from . import experts, probabilities, texts  # noqa: F401
