"""Steps: refinements of the score maps at full size, `(scores (Q, H, W), image (3, h, w)) -> scores (Q, H, W)`."""

from . import closing, pamr  # noqa: F401
