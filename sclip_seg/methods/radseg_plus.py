"""RADSeg+ (arXiv 2511.19704): RADSeg's labels redrawn along SAM's masks, RADIO seeing the picture in SAM's place.

RADIO, taught by SAM among others, reads the network's input once more, its long side 1024 and the other rounded down to
whole patches, in one pass and with RADSeg's last block (no SCGA). The adaptor of SAM's features of its patches, padded
with zeros to SAM's square, is what the neck of SAM's ViT-H takes for its encoder's; what follows is the refinement that
Trident ends with (`picture/refine/sam.py`), on probabilities of which some classes have left.

Official code: github.com/RADSeg-OVSS/RADSeg. Parity covers what goes into the neck; with SAM's own weights it was not
run.
"""

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import InputError
from ..picture.picture import Picture
from ..picture.refine.sam import PARTS, MaskRefinement, Quality
from ..picture.window import brought_to
from ..registry import STEPS
from ..settings import checked
from ..towers.encoder import DenseCLIP
from ..towers.radio import RadioTower
from ..towers.tail import LastBlock

HUGE = 1280  # width of SAM's ViT-H


@STEPS.register_module()
@checked
class RADIORefinement(MaskRefinement):
    """`MaskRefinement` of what RADIO sees.

    Args:
        checkpoint: of transformers' `SamModel`: a name on the hub, or a folder; None for random weights. Its decoders
            are kept, and the neck of its encoder.
        settings: of `MaskRefinement`.
    Raises:
        InputError: as `MaskRefinement`; another tower than RADIO, or one without SAM's adaptor or with one of another
            width than the neck's.
    """

    needed = (*PARTS, "vision_encoder.neck.")
    encoder: ClassVar = dict(hidden_size=HUGE)

    def __init__(
        self, checkpoint: str | None = "facebook/sam-vit-huge", iou_threshold: Quality = 0.9, **settings: object
    ) -> None:
        super().__init__(checkpoint, iou_threshold, **settings)

    def keep(self, sam: nn.Module) -> None:
        super().keep(sam)
        self.neck = sam.vision_encoder.neck

    def check_tower(self, tower: DenseCLIP) -> None:
        if not isinstance(tower.tower, RadioTower) or not isinstance(tower.tail, LastBlock):
            raise InputError("RADIORefinement asks RADIO what SAM would see: it needs a tower of RADIO's, and its tail")
        told = tower.tower.for_sam(torch.zeros(1, 1, tower.tower.width).to(next(tower.parameters()))).shape[2]
        cells = self.side // tower.patch
        if (told, cells) != (self.neck.conv1.in_channels, self.grid):
            raise InputError(
                f"{tower.arch} speaks to a SAM of {told} channels on {cells} patches a side, and the checkpoint's has "
                f"{self.neck.conv1.in_channels} on {self.grid}"
            )

    @torch.no_grad()
    def seen(self, picture: Picture) -> tuple[Tensor, tuple[int, int]]:
        features, size = sam_features(picture.tower, picture.image, self.side)
        return self.neck(features.permute(1, 2, 0)[None])[0], size


def sam_features(tower: DenseCLIP, image: Tensor, side: int) -> tuple[Tensor, tuple[int, int]]:
    """What RADIO says a SAM would see in a normalised picture (3, h, w), (D, s, s), fp32; and the size it is seen at.

    The tower is RADIO's, its last block as the tail reads it.
    """
    size = size_for_sam(tuple(image.shape[1:]), side, tower.patch)
    trace = tower.trace(brought_to(image, size)[None])
    tokens = tower.tail.tokens(trace)[:, trace.prefix :]
    features = trace.fold(tower.tower.for_sam(tokens))[0].float()
    cells = side // tower.patch
    return F.pad(features, (0, cells - features.shape[2], 0, cells - features.shape[1])), size


def size_for_sam(size: tuple[int, int], side: int, patch: int) -> tuple[int, int]:
    """A size (h, w) at SAM's long `side`, the other rounded down to whole patches, at least one."""
    longest, cells = max(size), side // patch
    return tuple(max(1, edge * cells // longest) * patch for edge in size)
