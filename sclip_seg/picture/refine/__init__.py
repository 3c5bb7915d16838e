"""Steps: refinements of score maps and labels at full size; any method can be given any of them."""

from . import class_maximum, closing, pamr, presence, region_vote, rerank, sam  # noqa: F401
