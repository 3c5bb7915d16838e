"""Makes sclip_seg/colours.txt: `pip install colorspacious`, `python tests/colours.py > sclip_seg/colours.txt`.

Glasbey's way (2007): each colour is, of a 33 x 33 x 33 grid, the one that lies farthest from those already taken. The
distance is the smallest of five: CAM02-UCS for eyes that see all colours, and, by `WEIGHTS`, for those without the
long, the middle and the short cones (Machado 2009, whole severity); and CIE Lab. Of the colours that are nearly as far
(0.96), the one farthest from the colour before is taken, so that neighbours differ. The package `glasbey` 0.4 was
measured beside it, told of the middle cones: of its 20 colours the nearest two differ by 4.7 to all eyes and by 2.6 to
the colour-blind, where these differ by 19.0 and 7.1 (`seen_apart`).
"""

import numpy as np
from colorspacious import cspace_convert

BLIND = ("protanomaly", "deuteranomaly", "tritanomaly")
WEIGHTS = (1.0, 1.75, 1.75, 2.5, 0.5)
TAKEN = [[0, 0, 0], [255, 255, 255], [128, 128, 128]]


def sights(colours):
    """CAM02-UCS (N, 3) of RGB (N, 3) in [0, 255], for eyes that see all colours and for three that do not."""
    shares = np.asarray(colours, float) / 255
    seen = [shares]
    for kind in BLIND:
        space = {"name": "sRGB1+CVD", "cvd_type": kind, "severity": 100}
        seen.append(np.clip(cspace_convert(shares, space, "sRGB1"), 0, 1))
    return [cspace_convert(one, "sRGB1", "CAM02-UCS") for one in seen]


def seen_apart(colours):
    """The smallest distance of any two, by sight."""
    apart = []
    for seen in sights(colours):
        distance = np.linalg.norm(seen[:, None] - seen[None], axis=-1)
        np.fill_diagonal(distance, np.inf)
        apart.append(float(distance.min()))
    return apart


def make(count, sides=33, nearly=0.96):
    """(count, 3) uint8."""
    steps = np.rint(np.linspace(0, 255, sides))
    grid = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), -1).reshape(-1, 3)
    grid = np.concatenate([grid, TAKEN])
    spaces = [*sights(grid), cspace_convert(grid / 255, "sRGB1", "CIELab")]

    def from_(index):
        apart = (w * np.linalg.norm(s - s[index], axis=1) for w, s in zip(WEIGHTS, spaces, strict=True))
        return np.min(list(apart), axis=0)

    distance = np.full(len(grid), np.inf)
    for index in range(len(grid) - len(TAKEN), len(grid)):
        last = from_(index)
        distance = np.minimum(distance, last)
    made = []
    for _ in range(count):
        far = np.flatnonzero(distance >= nearly * distance.max())
        index = int(far[last[far].argmax()])
        made.append(grid[index])
        last = from_(index)
        distance = np.minimum(distance, last)
    return np.array(made, np.uint8)


if __name__ == "__main__":
    print("# 1024 colours for classes, made by tests/colours.py, which says how: each far from those before it, also")
    print("# for the colour-blind, and from black, white and grey.")
    for colour in make(1024):
        print(bytes(colour).hex())
