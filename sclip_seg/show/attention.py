"""The work of `sclip-seg attention`: what points of a picture look at, drawn over it."""

import argparse
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from ..data.loading import read_picture
from ..errors import InputError
from ..files import as_png, write_atomically
from ..registry import Parts, one_of_each
from ..towers.together import Together, sharing
from .attention_row import AttentionRow
from .heat import at_panel_size, grid, heat, largest, middles, score_map, weights_of
from .predictor import Prediction, Predictor, load

WEIGHTS = ("0", "the largest weight of each panel, written beneath it; over the grey picture")
SCORES = ("the lowest", "and the highest score of a method, above its column; beneath a panel: its own range")


@dataclass(frozen=True)
class Found:
    """What one method gave in block `block` of `depth`, from 1: a row for each point, and score maps if asked for."""

    name: str
    block: int
    depth: int
    heads: int
    rows: list[AttentionRow]
    prediction: Prediction | None


def draw(options: argparse.Namespace) -> None:
    """Computes everything, then writes the files, so that what is refused leaves none."""
    picture = np.ascontiguousarray(read_picture(options.picture)[..., ::-1])
    with one_of_each(Parts()):  # all methods have one tower, and what they see alike is seen once
        models = [model_of(method, options) for method in options.methods]
    with sharing(Together()):
        named = zip(options.methods, models, strict=True)
        found = [look(Path(method).stem, seg, picture, options) for method, seg in named]
    stem, files, lines = options.picture.stem, {}, []
    for index, (y, x) in enumerate(options.points):
        lines += [line for one in found for line in told(one, index, options)]
        if options.heads != ():
            files[f"{stem}_x{x}_y{y}_heads.png"] = as_png(figure_of_heads(picture, found, index, options))
    if options.points and options.heads == ():
        files[f"{stem}_attention.png"] = as_png(figure_of_means(picture, found, options))
    if options.scores:
        files[f"{stem}_scores.png"] = as_png(figure_of_scores(picture, found, options))
    if options.npz:
        files[f"{stem}_attention.npz"] = raw(found)
    for name, content in files.items():
        write_atomically(options.out_dir / name, content)
    print("\n".join([*lines, f"written to {options.out_dir}: {', '.join(files)}"]))


def model_of(method: str, options: argparse.Namespace) -> Predictor:
    """A method as it is asked."""
    one_window = {"model.window.crop": None} if options.whole and options.scores else {}
    return load(method, options.backbone, options=one_window)


def look(name: str, seg: Predictor, picture: np.ndarray, options: argparse.Namespace) -> Found:
    """Asks a method."""
    blocks = seg.model.backbone.tower.blocks
    depth, count = len(blocks), blocks[-1].heads
    block = options.block or depth
    if block > depth:
        raise InputError(f"--block {block}: the tower of {options.backbone} has {depth} blocks")
    beyond = [head + 1 for head in options.heads or () if head >= count]
    if beyond:
        raise InputError(f"--heads {beyond[0]}: the blocks of {options.backbone} have {count} heads")
    if options.classes is not None:
        seg.set_words(options.classes, options.background)
    rows = seg.attention(picture, options.points, block - 1, options.whole)
    return Found(name, block, depth, count, rows, seg(picture) if options.scores else None)


def heads_of(found: Found, options: argparse.Namespace) -> Sequence[int | None]:
    """The heads to show, from 0; None is their mean."""
    return (range(found.heads) if options.heads is None else options.heads) or (None,)


def own(row: AttentionRow, head: int | None) -> int | None:
    """The head's place among the row's maps: all heads have the same one where there is one."""
    return None if head is None else min(head, len(row.rows) - 1)


def told(found: Found, index: int, options: argparse.Namespace) -> Iterator[str]:
    """A line for each map of a point: the largest weight, where it is, and the sums over patches and class token."""
    row = found.rows[index]
    for head in heads_of(found, options):
        weights = np.stack([weights_of(part, own(row, head)) for part in row.seen])
        number, *place = np.unravel_index(weights.argmax(), weights.shape)
        y, x = (axis[at] for axis, at in zip(middles(row.seen[number]), place, strict=True))
        of = "" if head is None else f"  head {head + 1}"
        window = f", window {number + 1} of {len(weights)}" if row.across else ""
        share, most = class_token(row, own(row, head)), weights.max()
        size = f"{most:.4f}" if most >= 0.001 else f"{most:.2g}"
        yield (
            f"{named(row.point)}  {found.name}{of}  largest {size} at x={x:.0f}, y={y:.0f} "
            f"(row {place[0] + 1}, column {place[1] + 1} of {weights.shape[1]} x {weights.shape[2]}{window}), "
            f"patches {weights.sum():.3f}" + ("" if share is None else f", class token {share:.3f}")
        )


def class_token(row: AttentionRow, head: int | None) -> float | None:
    """The class token's weight in a head or, for None, in their mean; None where the method leaves it out."""
    if row.class_token is None:
        return None
    return float(row.class_token.mean() if head is None else row.class_token[head])


def named(place: tuple[int, int]) -> str:
    """The point (y, x) as it is written."""
    return f"x={place[1]}, y={place[0]}"


def header(found: list[Found], options: argparse.Namespace) -> str:
    """What a figure of attention shows."""
    one = found[0]
    which = "last block" if one.block == one.depth else f"block {one.block} of {one.depth}"
    view = "the picture as one window" if options.whole else "window framed"
    return f"{options.picture.name}, {options.backbone}, {which}, {view}"


def figure_of_means(picture: np.ndarray, found: list[Found], options: argparse.Namespace) -> Image.Image:
    """Rows are points, columns methods."""
    count = range(len(options.points))
    shown = [at_panel_size(picture, one.rows, len(found)) for one in found]
    return grid(
        [[heat(small, rows[index]) for small, rows in shown] for index in count],
        f"{header(found, options)}, mean of {found[0].heads} heads",
        [named(place) for place in options.points],
        [titled(one, one.rows[0]) for one in found],
        [[ends(one.rows[index], None) for one in found] for index in count],
        WEIGHTS,
    )


def figure_of_heads(picture: np.ndarray, found: list[Found], index: int, options: argparse.Namespace) -> Image.Image:
    """Of one point: rows are methods, columns heads."""
    shown = heads_of(found[0], options)
    small, rows = at_panel_size(picture, [one.rows[index] for one in found], len(shown))
    return grid(
        [[heat(small, row, own(row, head)) for head in shown] for row in rows],
        f"{header(found, options)}, {named(options.points[index])}",
        [
            titled(one, row) + (" (one map for all heads)" if len(row.rows) == 1 else "")
            for one, row in zip(found, rows, strict=True)
        ],
        [f"head {head + 1}" for head in shown],
        [[ends(row, own(row, head)) for head in shown] for row in rows],
        WEIGHTS,
    )


def titled(found: Found, row: AttentionRow) -> str:
    """The method, and whether it looks further than the framed window."""
    return found.name + (" (all windows added up)" if row.across else "")


def ends(row: AttentionRow, head: int | None) -> str:
    """The range of a panel, as it is written."""
    return f"0 to {largest(row, head):.3g}"


def figure_of_scores(picture: np.ndarray, found: list[Found], options: argparse.Namespace) -> Image.Image:
    """Rows are queries, columns methods, each with one scale for all its queries: they are what a label compares."""
    maps = [one.prediction.cosines for one in found]
    ends = [(float(one.min()), float(one.max())) for one in maps]
    queries = range(len(maps[0]))
    return grid(
        [[score_map(picture, one[query], *end) for one, end in zip(maps, ends, strict=True)] for query in queries],
        f"{options.picture.name}, {options.backbone}, scores of the queries, refined where the method refines",
        found[0].prediction.queries,
        [f"{one.name}, {low:.3f} to {high:.3f}" for one, (low, high) in zip(found, ends, strict=True)],
        [[f"{one[query].min():.3f} to {one[query].max():.3f}" for one in maps] for query in queries],
        SCORES,
    )


def raw(found: list[Found]) -> bytes:
    """An archive of `METHOD_xX_yY` (heads, h, w), and beside it `..._window`, `..._area`, `..._cell` of its row.

    Of a method that looks across windows also `..._across` (windows, heads, h, w), with `..._across_window` and
    `..._across_area` (windows, 4).
    """
    arrays = {}
    for one in found:
        for row in one.rows:
            name = f"{one.name}_x{row.point[1]}_y{row.point[0]}"
            arrays |= {name: row.rows, f"{name}_window": row.window, f"{name}_area": row.area, f"{name}_cell": row.cell}
            if row.across:
                arrays[f"{name}_across"] = np.stack([part.rows for part in row.across])
                arrays[f"{name}_across_window"] = np.array([part.window for part in row.across])
                arrays[f"{name}_across_area"] = np.array([part.area for part in row.across])
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()
