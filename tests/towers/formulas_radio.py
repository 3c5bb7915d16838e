"""RADIO's trunk and adaptors a second time: float64, cell by cell, by the names of NVIDIA's file."""

import numpy as np
from formulas import correlation
from formulas_towers import Weights, last_block, linear, norm
from numpy import ndarray as Array
from scipy.special import erf
from tiny_radio import DEPTH, HEADS, PATCH, PREFIX, TABLE


def arrays(state: dict) -> dict[str, Array]:
    return {name: tensor.double().numpy() for name, tensor in state.items()}


def under(state: dict[str, Array], root: str) -> dict[str, Array]:
    return {name.removeprefix(root): array for name, array in state.items() if name.startswith(root)}


def place(index: int, source: int, target: int, corners: bool) -> list[tuple[int, float]]:
    """Where an entry of a line of `target` is read in one of `source`, and by how much."""
    if corners:
        at = index * (source - 1) / (target - 1) if target > 1 else 0.0
    else:
        at = max((index + 0.5) * source / target - 0.5, 0.0)
    low = min(int(at), source - 1)
    return [(low, 1 - (at - low)), (min(low + 1, source - 1), at - low)]


def positions(table: Array, grid: tuple[int, int], corners: bool) -> Array:
    """Of each cell: the table resized to a square, of which the upper left part is taken."""
    side, rows = max(grid), []
    for i in range(grid[0]):
        for j in range(grid[1]):
            pairs = [(place(i, TABLE, side, corners), place(j, TABLE, side, corners))]
            rows += [sum(table[y * TABLE + x] * a * b for y, a in down for x, b in across) for down, across in pairs]
    return np.stack(rows)


def tokens(image: Array, state: dict[str, Array], corners: bool) -> tuple[Array, tuple[int, int]]:
    """The trunk's output (T, C) for a picture (3, H, W), its first tokens in the file's order."""
    generator = under(state, "base_model.patch_generator.")
    grid = image.shape[1] // PATCH, image.shape[2] // PATCH
    cells = [
        image[:, PATCH * i : PATCH * (i + 1), PATCH * j : PATCH * (j + 1)].reshape(-1)
        for i in range(grid[0])
        for j in range(grid[1])
    ]
    patches = np.stack([generator["embedder.weight"] @ cell for cell in cells])
    patches = patches + positions(generator["pos_embed"][0], grid, corners)
    x = np.concatenate([generator["cls_token.token"], patches])
    for number in range(DEPTH):
        block = under(state, f"base_model.blocks.{number}.")
        block = {name.replace("grandma", "gamma"): array for name, array in block.items()}
        w = Weights(block, {}, HEADS, 1e-6)
        x = last_block(x, w, grid, PREFIX, lambda p, prefix: correlation(p.q, p.k), True, True)
    return x, grid


def adapted(x: Array, w: dict[str, Array]) -> Array:
    """Through an adaptor of either kind."""
    if "fc2.weight" in w:
        x = np.maximum(norm(linear(x, w, "fc1"), w, "norm", 1e-5), 0)
        for number in range(0, 3 * 9, 3):
            if f"inner.{number}.weight" in w:
                x = np.maximum(norm(linear(x, w, f"inner.{number}"), w, f"inner.{number + 1}", 1e-5), 0)
        return linear(x, w, "fc2")

    def step(x: Array, name: str) -> Array:
        normed = norm(x, w, f"{name}.0", 1e-5)
        return linear(normed * (1 + erf(normed / np.sqrt(2))) / 2, w, f"{name}.2")

    x = linear(x, w, "fc1")
    for number in range(9):
        x = x + step(x, f"blocks.{number}") if f"blocks.{number}.0.weight" in w else x
    return step(x, "final")
