"""Parity: the methods beside outputs of the official codes on tiny weights, case by case as a folder's files say.

A method's module registers a reader of its files (`reading.reads`, or `visual.visual` for patch features).
"""

from . import (
    blocks,
    cass,
    cliper,
    cliptrase,
    corrclip,
    corrclip_segmentors,
    dih_clip,
    floss,
    fsa,
    gla,
    lposs,
    paths,
    pearl,
    proxyclip,
    resclip,
    rfclip,
    scclip,
    segmentors,
    sfp,
    text,
    trident,
    zsseg,
)

__all__ = [
    "blocks",
    "cass",
    "cliper",
    "cliptrase",
    "corrclip",
    "corrclip_segmentors",
    "dih_clip",
    "floss",
    "fsa",
    "gla",
    "lposs",
    "paths",
    "pearl",
    "proxyclip",
    "resclip",
    "rfclip",
    "scclip",
    "segmentors",
    "sfp",
    "text",
    "trident",
    "zsseg",
]
