"""Which pixels of a picture belong together: regions, who finds them, where they are kept."""

from . import classical, elsewhere, queries, sam2  # noqa: F401
