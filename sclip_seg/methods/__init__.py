"""One file per paper, in order of publication."""

from . import clip, maskclip, sclip, naclip, clearclip  # noqa: F401, I001
