"""Stages that go with any method: they revise the scores of a picture before they are stitched."""

from . import experts, memory, probabilities, texts  # noqa: F401
