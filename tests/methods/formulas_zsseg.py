"""zsseg and SCAN in float64, pixel by pixel and crop by crop, by the equations of their papers' codes."""

import numpy as np
from formulas import Array, layer_norm, softmax
from formulas_paths import joint, tower_weights, trained_block, unit


def kernel(t: float) -> float:
    """Keys' cubic with a = -0.75."""
    t = abs(t)
    if t <= 1:
        return 1.25 * t**3 - 2.25 * t**2 + 1
    return -0.75 * (t**3 - 5 * t**2 + 8 * t - 4) if t < 2 else 0.0


def cubic(side: int, target: int) -> Array:
    """(target, side): bicubic interpolation along an axis, without antialias; beyond the end is the last pixel."""
    matrix = np.zeros((target, side))
    for row in range(target):
        place = (row + 0.5) * side / target - 0.5
        first = int(np.floor(place))
        for index in range(first - 1, first + 3):
            matrix[row, min(max(index, 0), side - 1)] += kernel(place - index)
    return matrix


def box_of(mask: Array) -> tuple[slice, slice]:
    """From the first to the last row and column with a pixel."""
    rows, columns = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)


def crop(image: Array, mask: Array, side: int) -> Array:
    """The box of the mask in a normalised picture (3, H, W), the rest 0, at (3, side, side)."""
    box = box_of(mask)
    cut = np.where(mask, image, 0.0)[(slice(None), *box)]
    return cubic(cut.shape[1], side) @ cut @ cubic(cut.shape[2], side).T


def nearest(picture: Array, side: int) -> Array:
    """(..., H, W) at (..., side, side)."""
    rows, columns = (np.arange(side) * count // side for count in picture.shape[-2:])
    return picture[..., rows, :][..., columns]


def start(image: Array, visual) -> Array:
    """The trunk's first tokens (T, C) of a picture (3, side, side) of the tower's own size."""
    w = {name: tensor.detach().double().numpy() for name, tensor in visual.state_dict().items()}
    patch = w["conv1.weight"].shape[2]
    tokens = [w["class_embedding"]]
    for top in range(0, image.shape[1], patch):
        for left in range(0, image.shape[2], patch):
            tokens.append((w["conv1.weight"] * image[:, top : top + patch, left : left + patch]).sum((1, 2, 3)))
    return layer_norm(np.stack(tokens) + w["positional_embedding"], w["ln_pre.weight"], w["ln_pre.bias"])


def class_states(image: Array, visual, shifts: dict[int, Array] | None = None, places: list[int] = ()) -> list[Array]:
    """All tokens (T, C) after each block; after block d, from 0, those of `places` are `shifts[d]`."""
    states, x, patch = [], start(image, visual), visual.conv1.kernel_size[0]
    grid = image.shape[1] // patch, image.shape[2] // patch
    for index, w in enumerate(tower_weights(visual)):
        x = trained_block(x, w, grid).copy()
        for place in places if index in (shifts or {}) else ():
            x[1 + place] = shifts[index]
        states.append(x)
    return states


def feature(image: Array, mask: Array, visual, ratio: float = 0.0, blocks: tuple[int, ...] = ()) -> Array:
    """Unit class feature (D,) of a mask's crop, shifted by the whole picture's class tokens."""
    end, side, patch = tower_weights(visual)[-1], visual.image_size[0], visual.conv1.kernel_size[0]
    below, beside = (-count % 32 for count in image.shape[1:])
    whole = class_states(nearest(np.pad(image, ((0, 0), (0, below), (0, beside))), side), visual)
    small = nearest(mask[box_of(mask)], side)
    count = side // patch
    outside = [
        index
        for index in range(count**2)
        if not small[index // count * patch :, index % count * patch :][:patch, :patch].any()
    ]
    n = int(ratio * len(outside))
    places = [outside[i * len(outside) // n] for i in range(n)]
    last = class_states(crop(image, mask, side), visual, {d: whole[d][0] for d in blocks}, places)[-1]
    return unit(joint(last[:1], end))[0]


def head(embeddings: Array, text: Array, void: Array, scale: float) -> Array:
    """softmax over words and nothing, (R, K + 1)."""
    words = np.concatenate([text, unit(void[None])])
    return np.stack([softmax(scale * words @ e) for e in unit(embeddings)])


def mixture(c: Array, masks: Array) -> Array:
    """S (K, H, W)."""
    total = np.zeros((c.shape[1], *masks.shape[1:]))
    for chances, mask in zip(c, masks, strict=True):
        for k, chance in enumerate(chances):
            total[k] += chance * mask
    return total


def with_void(c: Array, void: Array) -> Array:
    """SCAN's large vocabularies."""
    rows = []
    for own, nothing in zip(c, void, strict=True):
        row = np.append(own / own.sum() * (1 - nothing), nothing) + 1e-8
        rows.append((row / row.sum())[:-1])
    return np.stack(rows)


def integrated(e: Array, states: list[Array], sigmas: tuple[float, ...], overall: Array, w: dict[str, Array]) -> Array:
    """Queries (R, D) that ask patches (C, g, g) after some blocks, by the names of SCAN's checkpoint."""
    low = [lowered(x, sigma, w) for x, sigma in zip(states, sigmas, strict=True)]
    tokens = np.concatenate([x.reshape(len(x), -1).T for x in low])
    memory = linear(linear(tokens, w, "oriclip_mlp.fc1"), w, "oriclip_mlp.fc2")
    count = sum(name.endswith("in_proj_bias") and name.startswith("fusion") for name in w)
    for index in range(count):
        e = e + attended(e, memory, w, f"fusion_decoder.multiattn.{index}")
        if index < count - 1:
            e = normed(e, w, f"fusion_decoder.ln.{index}")
    e = e + w["weight"] * overall
    for index in range(sum(name.endswith("linear1.bias") for name in w)):
        stem = f"lightweight_transformer.layers.{index}"
        alone = np.concatenate([attended(row[None], row[None], w, f"{stem}.self_attn") for row in e])
        e = normed(e + alone, w, f"{stem}.norm1")
        further = linear(np.maximum(linear(e, w, f"{stem}.linear1"), 0), w, f"{stem}.linear2")
        e = normed(e + further, w, f"{stem}.norm2")
    return e


def lowered(x: Array, sigma: float, w: dict[str, Array]) -> Array:
    """The low-frequency module on (C, h, w), the Fourier sums written out as matrices."""
    down, across = (np.exp(-2j * np.pi * np.outer(range(n), range(n)) / n) for n in x.shape[1:])
    spectrum = down @ x @ across
    for row in range(x.shape[1]):
        for column in range(x.shape[2]):
            away = (row - x.shape[1] // 2) ** 2 + (column - x.shape[2] // 2) ** 2
            spectrum[:, row, column] *= 1 - np.exp(-away / (2 * sigma**2))
    y = np.concatenate([spectrum.real, spectrum.imag])
    for index in (1, 2):
        y = (
            np.einsum("oc,chw->ohw", w[f"LFM.conv{index}.weight"][:, :, 0, 0], y)
            + w[f"LFM.conv{index}.bias"][:, None, None]
        )
        y = np.maximum(y, 0) if index == 1 else y
    back = down.conj() @ (y[: len(x)] + 1j * y[len(x) :]) @ across.conj()
    return x + back.real / (x.shape[1] * x.shape[2])


def linear(x: Array, w: dict[str, Array], stem: str) -> Array:
    return x @ w[f"{stem}.weight"].T + w[f"{stem}.bias"]


def normed(x: Array, w: dict[str, Array], stem: str) -> Array:
    return layer_norm(x, w[f"{stem}.weight"], w[f"{stem}.bias"])


def attended(x: Array, memory: Array, w: dict[str, Array], stem: str, heads: int = 8) -> Array:
    """Attention of eight heads, row by row."""
    width = x.shape[1]
    parts = (
        seen @ w[f"{stem}.in_proj_weight"][index * width :][:width].T
        + w[f"{stem}.in_proj_bias"][index * width :][:width]
        for index, seen in enumerate((x, memory, memory))
    )
    q, k, v = (part.reshape(len(part), heads, -1) for part in parts)
    out = np.zeros_like(q)
    for head_index in range(heads):
        for row in range(len(q)):
            weights = softmax(k[:, head_index] @ q[row, head_index] / np.sqrt(width // heads))
            out[row, head_index] = weights @ v[:, head_index]
    return linear(out.reshape(len(x), width), w, f"{stem}.out_proj")
