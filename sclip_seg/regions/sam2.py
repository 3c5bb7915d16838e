"""SAM 2 (arXiv 2408.00714): masks of a grid of points, painted in ascending area.

The grid is ours: transformers' own for mask generation scales it by the longer side, while its pictures are squeezed to
a square, so that the lower quarter of a 4:3 picture gets no point. Filtering and suppression are transformers'.
"""

from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..registry import REGIONS
from ..settings import Count, Share
from .pretrained import base_name, digest, load, pixels
from .provider import FOLDER, RegionProvider
from .regions import VOID, Regions, painted_by_area

POINTS = 64  # that are asked about at a time
PIXELS = 2**25  # of masks at full size that are held at a time


@REGIONS.register_module(name="sam2")
class SAM2(RegionProvider):
    """Automatic masks, as CorrCLIP's maps "SAM2_32" were most likely made.

    Args:
        checkpoint: of transformers' `Sam2Model`: a name on the hub, or a folder.
        points: of the grid, a side.
        iou: masks of a lower predicted IoU are dropped.
        stability: so are those that change more when their threshold is moved by 1.
        several: three masks a point, or the single one.
        overlap: boxes of a larger IoU are one mask's.
    """

    trained_on = "SA-V and SA-1B, masks without classes"

    def __init__(
        self,
        checkpoint: str = "facebook/sam2-hiera-large",
        points: Count = 32,
        iou: Share = 0.7,
        stability: Share = 0.7,
        several: bool = True,
        overlap: Share = 0.7,
        folder: str | None = FOLDER,
    ) -> None:
        options = dict(points=points, iou=iou, stability=stability, several=several, overlap=overlap)
        super().__init__(folder, checkpoint=base_name(checkpoint), **options)
        self.model, self.prepare = load("Sam2Model", "Sam2ImageProcessor", checkpoint)
        self.model.mask_decoder.dynamic_multimask_via_stability = False  # as the authors build it
        self.digest_of_weights = digest(self.model)

    @property
    def digest(self) -> str:
        return self.digest_of_weights

    def find(self, picture: np.ndarray, name: str = "") -> Regions:
        size, filtered = picture.shape[:2], list(self.filtered(picture))
        masks, scores, boxes = (list(part) for part in zip(*filtered, strict=True))
        if not any(map(len, scores)):
            return Regions(torch.full(size, VOID, dtype=torch.int32))
        kept, *_ = self.prepare.post_process_for_mask_generation(
            [mask for some in masks for mask in some], torch.cat(scores), torch.cat(boxes), self.settings["overlap"]
        )
        return painted_by_area([torch.as_tensor(np.asarray(mask)).bool() for mask in kept], size)

    def filtered(self, picture: np.ndarray) -> Iterator[tuple[list, Tensor, Tensor]]:
        """Masks in run lengths, their predicted IoU and boxes, of some points at a time."""
        image, size = pixels(self.prepare, picture, self.model), picture.shape[:2]
        seen = self.model.get_image_embeddings(image)
        step = max(1, PIXELS // (size[0] * size[1]))
        limits = dict(pred_iou_thresh=self.settings["iou"], stability_score_thresh=self.settings["stability"])
        for points in grid(self.settings["points"], image.shape[-2:]).to(image).split(POINTS):
            found = self.model(
                image_embeddings=seen,
                input_points=points[None, :, None],
                input_labels=torch.ones(1, len(points), 1, dtype=torch.int, device=image.device),
                multimask_output=self.settings["several"],
            )
            pairs = zip(found.pred_masks[0].split(step), found.iou_scores[0].split(step), strict=True)
            for logits, quality in pairs:
                masks = F.interpolate(logits, size, mode="bilinear", align_corners=False)
                yield self.prepare.filter_masks(masks, quality, size, [0, 0, size[1], size[0]], **limits)


@REGIONS.register_module(name="sam2_8")
class SAM2Few(SAM2):
    """Those that CorrCLIP makes on the fly, "SAM2_8": eight points a side, a single mask each, low thresholds."""

    def __init__(self, checkpoint: str = "facebook/sam2-hiera-large", folder: str | None = FOLDER) -> None:
        super().__init__(checkpoint, points=8, iou=0.4, stability=0.4, several=False, folder=folder)


def grid(count: int, size: tuple[int, int]) -> Tensor:
    """(count², 2: x, y) points in the middles of as many cells of a picture (h, w), in pixels, x fastest."""
    steps = (torch.arange(count) + 0.5) / count
    y, x = torch.meshgrid(steps * size[0], steps * size[1], indexing="ij")
    return torch.stack([x, y], dim=-1).flatten(0, 1)
