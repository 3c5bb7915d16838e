"""MaskFormer, Mask2Former and EoMT (arXiv 2107.06278, 2112.01527, 2503.19108): a mask and a class for each query.

As a hard map they are read by transformers' own panoptic rules: each pixel to the query with the largest score times
probability; a query is dropped where it wins too little of its mask. Mask2Former's rule paints all that a query wins,
EoMT's what it wins above `mask`; EoMT's pieces of one stuff class are one region. As soft masks (`form='soft'`) all
queries are kept, with 1 - p(nothing) as their objectness.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..registry import REGIONS
from ..settings import Natural, Share
from .pretrained import base_name, digest, load, pixels
from .provider import FOLDER, RegionProvider
from .published import cut, padded, restored
from .regions import VOID, Regions, SoftRegions

COCO_STUFF = range(80, 133)  # classes of COCO panoptic that are no things


class QueryNetwork(RegionProvider):
    """What the three share.

    Args:
        checkpoint: of transformers: a name on the hub, or a folder; None is the published one.
        form: 'panoptic', a hard map, or 'soft'.
        threshold: least score of a query.
        mask: least probability of a pixel.
        overlap: least share of its mask that a query must win.
        trained_on: whose masks the checkpoint was trained with.
    """

    network: str
    processor: str
    published: str
    """The checkpoint of whoever names none."""

    def __init__(
        self,
        checkpoint: str | None = None,
        form: Literal["panoptic", "soft"] = "panoptic",
        threshold: Share = 0.5,
        mask: Share = 0.5,
        overlap: Share = 0.8,
        trained_on: str = "COCO's panoptic masks",
        folder: str | None = FOLDER,
    ) -> None:
        checkpoint = checkpoint or self.published
        settings = dict(form=form, threshold=threshold, mask=mask, overlap=overlap)
        super().__init__(folder, checkpoint=base_name(checkpoint), **settings)
        self.model, self.prepare = load(self.network, self.processor, checkpoint)
        restored(self.model)
        self.trained_on = trained_on
        self.digest_of_weights = digest(self.model)

    @property
    def digest(self) -> str:
        return self.digest_of_weights

    def find(self, picture: np.ndarray, name: str = "") -> Regions | SoftRegions:
        image, size = pixels(self.prepare, picture, self.model), picture.shape[:2]
        whole = padded(image, self.model.config)
        outputs = self.model(whole)
        outputs.masks_queries_logits = cut(outputs.masks_queries_logits, image.shape[2:], whole.shape[2:])
        if self.settings["form"] == "panoptic":
            return self.hard_map(outputs, size)
        scores = outputs.class_queries_logits[0].softmax(-1)
        logits = self.logits(outputs.masks_queries_logits, size)
        return SoftRegions(logits, size, 1 - scores[:, -1], self.embeddings(outputs))

    def hard_map(self, outputs: object, size: tuple[int, int]) -> Regions:
        """The panoptic map of a network's outputs for a picture of `size` (H, W)."""
        options = dict(threshold=self.settings["threshold"], mask_threshold=self.settings["mask"])
        options |= dict(overlap_mask_area_threshold=self.settings["overlap"], **self.fused())
        (found,) = self.prepare.post_process_panoptic_segmentation(outputs, target_sizes=[size], **options)
        return self.numbered(found["segmentation"])

    def fused(self) -> dict:
        """What says whose pieces are one region."""
        return dict(label_ids_to_fuse=set())

    def numbered(self, segmentation: Tensor) -> Regions:
        """The library's numbers, from 1 with void 0, or -1 all over where nothing was found, as ours."""
        return Regions((segmentation.int() - 1).clamp(min=VOID).cpu())

    def logits(self, masks: Tensor, size: tuple[int, int]) -> Tensor:
        """Mask logits (R, h, w) that lie over the picture alone; the processors of the MaskFormers pad nothing."""
        return masks[0]

    def embeddings(self, outputs: object) -> Tensor | None:
        """What the queries became, (R, D)."""
        return outputs.transformer_decoder_last_hidden_state[0]


@REGIONS.register_module(name="mask2former")
class Mask2Former(QueryNetwork):
    """Mask2Former, Swin-L on COCO's panoptic masks unless told otherwise."""

    network, processor = "Mask2FormerForUniversalSegmentation", "Mask2FormerImageProcessor"
    published = "facebook/mask2former-swin-large-coco-panoptic"

    def embeddings(self, outputs: object) -> Tensor | None:
        """After the last norm, which transformers' masks are made after and this state of it is not."""
        states = super().embeddings(outputs)
        return self.model.model.transformer_module.decoder.layernorm(states)


@REGIONS.register_module(name="maskformer")
class MaskFormer(QueryNetwork):
    """MaskFormer, Swin-L on COCO's panoptic masks unless told otherwise."""

    network, processor = "MaskFormerForInstanceSegmentation", "MaskFormerImageProcessor"
    published = "facebook/maskformer-swin-large-coco"


@REGIONS.register_module(name="eomt")
class EoMT(QueryNetwork):
    """EoMT, ViT-L at 640 pixels on COCO's panoptic masks unless told otherwise.

    `stuff`: classes whose pieces are one region; the library fuses none unless told.
    """

    network, processor = "EomtForUniversalSegmentation", "EomtImageProcessor"
    published = "tue-mps/coco_panoptic_eomt_large_640"

    def __init__(
        self,
        checkpoint: str | None = None,
        form: Literal["panoptic", "soft"] = "panoptic",
        threshold: Share = 0.8,
        stuff: Sequence[Natural] = tuple(COCO_STUFF),
        **settings: object,
    ) -> None:
        super().__init__(checkpoint, form, threshold, **settings)
        self.settings["stuff"] = list(stuff)

    def fused(self) -> dict:
        return dict(stuff_classes=self.settings["stuff"])

    def numbered(self, segmentation: Tensor) -> Regions:
        """From 0, and void is -1."""
        return Regions(segmentation.int().cpu())

    def logits(self, masks: Tensor, size: tuple[int, int]) -> Tensor:
        """Without what lies over the padding; the network's input is a square."""
        sides = self.prepare.size
        factor = min(sides["shortest_edge"] / min(size), sides["longest_edge"] / max(size))
        full = F.interpolate(masks, (sides["longest_edge"],) * 2, mode="bilinear", align_corners=False)[0]
        height, width = (min(round(side * factor), full.shape[-1]) for side in size)
        return full[:, :height, :width]

    def embeddings(self, outputs: object) -> Tensor | None:
        """EoMT shows none."""
        return None


def panoptic_by(kind: type[QueryNetwork], outputs: object, size: tuple[int, int], **settings: object) -> Regions:
    """The hard map that a network of this kind would make of outputs whose masks lie over a picture (H, W) alone."""
    import transformers

    bare = kind.__new__(kind)
    torch.nn.Module.__init__(bare)
    bare.settings, bare.prepare = settings, getattr(transformers, kind.processor)()
    if kind is EoMT:
        bare.prepare.size = dict(shortest_edge=size[0], longest_edge=size[1])
    return bare.hard_map(outputs, size)
