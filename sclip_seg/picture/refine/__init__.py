"""Steps: refinements of score maps and labels at full size; any method can be given any of them."""

from . import closing, pamr, sam  # noqa: F401
