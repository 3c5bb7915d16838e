"""One file per paper, in order of publication."""

# ruff: noqa: F401, I001
from . import clip, maskclip, clip_surgery, sclip, gem, naclip, cliptrase, clearclip, proxyclip
from . import trident, itaclip, cliper, resclip, scclip
from . import lposs, fsa, sfp, dih_clip, gla_clip
from . import cass, rfclip, pearl
from . import zsseg, scan
from . import corrclip, corrclip_v2
from . import radseg, radseg_plus
