"""One file per paper, in order of publication."""

from . import clip, maskclip, clip_surgery, sclip, gem, naclip, cliptrase, clearclip, itaclip, resclip, scclip  # noqa: F401, I001
