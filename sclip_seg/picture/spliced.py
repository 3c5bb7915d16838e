"""`SplicedSegmentor`: features of all windows are joined before they are compared with words (Trident)."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from mmseg.registry import MODELS
from torch import Tensor

from ..errors import InputError
from ..methods.trident import Trident, mean_similarity
from ..towers.kept import on
from ..towers.tail import cosines
from ..towers.trace import Trace
from .refine.sam import SAMRefinement
from .scores import DenseMaps, StitchedMaps
from .segmentor import OpenVocabSegmentor
from .window import Axis, Windows, bilinear


@dataclass(frozen=True)
class SplicedMaps(StitchedMaps):
    """Score maps of a picture, and what SAM made of it: its embedding (256, 64, 64) and size (h, w) there."""

    embedding: Tensor | None = None
    size: tuple[int, int] | None = None


@MODELS.register_module()
class SplicedSegmentor(OpenVocabSegmentor):
    """Windows -> features on one canvas -> the affinity's grid -> scores, for the tail `Trident`.

    Pictures are brought to multiples of the patch, aspect slightly changed, as released. The affinity sees the picture
    at the size that the pipeline delivers.

    Args:
        sam_refine: settings of `SAMRefinement` for the labels, or None; needs a SAM as the tail's affinity.
        settings: those of `OpenVocabSegmentor`.
    """

    def __init__(self, sam_refine: dict | None = None, **settings: object) -> None:
        super().__init__(**settings)
        if not isinstance(self.backbone.tail, Trident):
            raise InputError("SplicedSegmentor needs the tail Trident")
        crop, stride, patch = self.window["crop"], self.window["stride"], self.backbone.patch
        if self.window["padding"] != "stretch" or self.window["unit"]:
            raise InputError("SplicedSegmentor pads no window: leave window.padding and window.unit as they are")
        if crop is None or crop % patch or stride % patch or crop % self.backbone.tail.unit:
            raise InputError(
                f"window.crop={crop}, window.stride={stride}: windows are joined patch by patch, so both must be "
                f"multiples of the patch ({patch}), and the crop of the guide's ({self.backbone.tail.unit})"
            )
        self.data_preprocessor.keep_original = True
        self.sam = None if sam_refine is None else SAMRefinement(**sam_refine)
        self.requires_grad_(False)

    def score(
        self, pictures: Sequence[Tensor], sizes: Sequence[tuple[int, int]], originals: Sequence[Tensor | None]
    ) -> Iterator[SplicedMaps]:
        for picture, (height, width), original in zip(pictures, sizes, originals, strict=True):
            picture = self.fitted(picture)
            canvas, trace = self.splice(picture)
            lattice, extra = self.read(canvas, trace, self.view(picture, original))
            cells = zip(lattice.shape[1:], (height, width), strict=True)
            rows, columns = (on(lattice.device, bilinear, source, target).float() for source, target in cells)
            yield SplicedMaps(lattice, rows, columns, *extra)

    def fitted(self, picture: Tensor) -> Tensor:
        """(3, H, W) at multiples of the patch: the long side rounded up, the short one scaled and rounded up."""
        patch, (height, width) = self.backbone.patch, picture.shape[1:]
        if height % patch == 0 and width % patch == 0:
            return picture
        longest = max(height, width)
        factor = -(-longest // patch) * patch / longest
        size = [max(-(-int(side * factor) // patch) * patch, self.window["crop"]) for side in (height, width)]
        return F.interpolate(picture[None], size, mode="bilinear", align_corners=False)[0]

    def splice(self, picture: Tensor) -> tuple[Tensor, Trace]:
        """The canvas (C, rows, columns) of a picture's windows, at a whole number of cells a patch; a trace of them."""
        plan, tail = self.windows_over(picture.shape[1:]), self.backbone.tail
        traces = [self.backbone.trace(batch) for batch in plan.cut([picture], self.window["batch"])]
        features = [tail.guide(trace.pixels) for trace in traces]
        mean = mean_similarity(torch.cat(features))
        tiles = torch.cat([tail.mix(trace, own, mean) for trace, own in zip(traces, features, strict=True)])
        return spliced(tiles.float(), plan), traces[-1]

    def view(self, picture: Tensor, original: Tensor | None) -> Tensor:
        """What the affinity sees, RGB in [0, 1], (1, 3, H, W): the original at multiples of the patch, by cv2."""
        if original is None:
            raise InputError("Trident's affinity sees the picture at its full size; give the data as the pipeline does")
        patch = self.backbone.patch
        height, width = (-(-side // patch) * patch for side in original.shape[1:])
        pixels = np.ascontiguousarray(original.permute(1, 2, 0).cpu().numpy()[:, :, ::-1])
        pixels = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_LINEAR)
        return torch.from_numpy(pixels).permute(2, 0, 1)[None].to(picture.device).float() / 255

    def read(self, canvas: Tensor, trace: Trace, view: Tensor) -> tuple[Tensor, tuple]:
        """Scores (Q, h, w) on the affinity's grid, and SAM's embedding and size for the refinement."""
        tail, parts = self.backbone.tail, 2 if self.backbone.tail.halves else 1
        lasts = [tail.affinity.last_attention(part) for part in view.tensor_split(parts, dim=3)]
        strips = []
        for own, last in zip(canvas.tensor_split(parts, dim=2), lasts, strict=True):
            tokens = tail.aggregate(own, last).to(trace.proj.dtype)
            strips.append(trace.joint(tokens[None]).transpose(1, 2).unflatten(2, last.grid))
        scores = cosines(torch.cat(strips, dim=3), self.text.features)[0]
        if self.sam is None:
            return scores, (None, None)
        whole = lasts[0] if parts == 1 else tail.affinity.last_attention(view)
        return scores, (whole.embedding, whole.size)

    def label(self, maps: StitchedMaps | DenseMaps, scored: SplicedMaps, picture: Tensor) -> Tensor:
        labels = super().label(maps, scored, picture)
        if self.sam is None:
            return labels
        return self.sam(labels, self.labelling.probabilities(maps), scored.embedding, scored.size)


def spliced(tiles: Tensor, plan: Windows) -> Tensor:
    """Features (N, C, h', w') of the windows, averaged where they overlap: (C, rows, columns) cells.

    A patch has a whole number of cells; where the guide's grid is none, it is resampled to the nearest one.
    """
    patches = plan.rows.patches, plan.columns.patches
    cells = tuple(
        side if side % count == 0 else max(1, round(side / count)) * count
        for side, count in zip(tiles.shape[2:], patches, strict=True)
    )
    if cells != tuple(tiles.shape[2:]):
        tiles = F.interpolate(tiles, cells, mode="bilinear", align_corners=False)
    axes = zip((plan.rows, plan.columns), cells, strict=True)
    rows, columns = (on(tiles.device, Axis.joined, axis, count).to(tiles) for axis, count in axes)
    return rows @ plan.lattice(tiles) @ columns.T
