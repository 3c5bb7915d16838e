"""What a scene may lie on: (H, W, 3) float32 textures, drawn from a generator of random numbers."""

import cv2
import numpy as np


def smooth_noise(random: np.random.Generator, height: int, width: int, cell: int) -> np.ndarray:
    """(H, W) float32 noise of unit size that varies over about `cell` pixels."""
    coarse = random.standard_normal((height // cell + 2, width // cell + 2)).astype(np.float32)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


def fine_noise(random: np.random.Generator, height: int, width: int) -> np.ndarray:
    """(H, W) float32 noise of unit size, each pixel its own."""
    return random.standard_normal((height, width), dtype=np.float32)


def _sand(random, height, width):
    grain = 7 * fine_noise(random, height, width) + 7 * smooth_noise(random, height, width, 12)
    specks = -38 * (random.random((height, width)) < 0.02)
    return np.float32((222, 194, 146)) + (grain + specks)[..., None]


def _water(random, height, width):
    y, x = np.mgrid[:height, :width].astype(np.float32)
    bend = 2.2 * smooth_noise(random, height, width, 10) + 1.5 * np.sin(x / 6 + random.uniform(0, 6))
    ripple = np.sin((y + bend) * (2 * np.pi / 9) + random.uniform(0, 6))
    return np.float32((58, 122, 190)) + ripple[..., None] * np.float32((16, 18, 16))


def _snow(random, height, width):
    drift = smooth_noise(random, height, width, 14)
    glitter = 3 * fine_noise(random, height, width)
    return np.float32((234, 239, 247)) + drift[..., None] * np.float32((9, 7, 3)) + glitter[..., None]


def _grass(random, height, width):
    blades = cv2.blur(fine_noise(random, height, width), (1, 7)) * 42
    patches = 8 * smooth_noise(random, height, width, 16)
    return np.float32((104, 152, 66)) + (blades + patches)[..., None] * np.float32((0.9, 1, 0.6))


PLAIN_GROUNDS = {"sand": _sand, "water": _water, "snow": _snow, "grass": _grass}


def _gravel(random, height, width):
    stones = cv2.blur(fine_noise(random, height, width), (3, 3)) * 66 + 10 * smooth_noise(random, height, width, 5)
    return np.float32((142, 140, 138)) + stones[..., None]


def _wood(random, height, width):
    plank = 14 + 8 * random.random()
    y, x = np.mgrid[:height, :width].astype(np.float32)
    across, along = (y, x) if random.random() < 0.5 else (x, y)
    which = np.floor(across / plank + random.random()).astype(int)
    tone = (12 * random.standard_normal(which.max() + 1).astype(np.float32))[which]
    grain = 7 * np.sin(across * 1.3 + 0.05 * along + 2 * smooth_noise(random, height, width, 14))
    seam = -40 * (np.modf(across / plank)[0] < 1.5 / plank)
    return np.float32((176, 128, 82)) + (tone + grain + seam)[..., None]


def _soil(random, height, width):
    clods = 16 * smooth_noise(random, height, width, 4) + 9 * smooth_noise(random, height, width, 11)
    return np.float32((104, 74, 54)) + (clods + 6 * fine_noise(random, height, width))[..., None]


def _carpet(random, height, width):
    """Woven, of any colour."""
    y, x = np.mgrid[:height, :width].astype(np.float32)
    weave = np.sin(x * np.pi / 3) * np.sin(y * np.pi / 3)
    dyed = np.float32(random.uniform(60, 190, 3))
    return dyed + 22 * weave[..., None] + 5 * smooth_noise(random, height, width, 20)[..., None]


RICH_GROUNDS = PLAIN_GROUNDS | {"gravel": _gravel, "wood": _wood, "soil": _soil, "carpet": _carpet}
