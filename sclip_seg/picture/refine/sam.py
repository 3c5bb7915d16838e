"""Refinement of a label map by SAM's mask decoder, which Trident (arXiv 2411.09219) ends with; any method can have it.

With y the labels and q the class probabilities, regions are found on both at half size (y nearest, q bilinear):

    regions of c:  8-connected parts of {y = c, max_k q_k >= t} of `min_area` pixels or more; none where max q_c < t
    prompts:       the argmax of q_c in the region, its tight box, and w·q_c where q_c > t (one map for all of c)
    accepted:      regions whose predicted IoU is > `iou_threshold`; M_c = max of their logits, enlarged to full size
    R_c = sigmoid(M_c) q_c where M_c > 0, else 0;   label = argmax_c R_c, and y where every R_c is 0

Official code: github.com/YuHengsss/Trident. Two of its slips are followed unless options say otherwise: regions that
were not accepted never get their labels back from masks over them (`fall_back`), and the mask prompt goes unbatched
through a LayerNorm that takes the second axis for channels, and so normalises over the height (`mask_norm`).
Prompts are scaled from the halved map to a long side of 1024, and the mask prompt to the full map's proportions, with
no regard to `size`. Left out: that masks go from `size` to (H, W) by way of a picture rounded up to whole patches.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import numpy as np
import torch
import torch.nn.functional as F
from scipy import ndimage
from torch import Tensor, nn

from ...errors import InputError
from ...regions.pretrained import place, refuse_unfit
from ...registry import GUIDES, STEPS
from ...settings import Natural, Range, Real, Share, checked
from ...towers.checkpoint import read
from ..picture import Picture
from ..scores import DenseMaps, StitchedMaps
from .step import LabelStep

PARTS = ("prompt_encoder.", "mask_decoder.")
PROMPTS_AT_ONCE = 64
ENLARGED_AT_ONCE = 16
Box = tuple[slice, slice]
FallBack, MaskNorm = Literal["released", "intended"], Literal["released", "channels"]
Quality = Annotated[float, Range(-(10**9), 10**9)]  # SAM predicts no more than a number


@checked
class MaskRefinement(LabelStep):
    """Labels redrawn along SAM's masks, prompted by the labels' own regions. Background is a class like any other.

    Whose features the masks are decoded of, a subclass says.

    Args:
        checkpoint: of transformers' `SamModel`: a name on the hub, or a folder; None for random weights. Its decoders
            are kept.
        iou_threshold: least IoU, as SAM predicts it, of a mask that is used.
        coarse_threshold: t, least probability of pixels and classes that prompt.
        min_area: least area of a region that prompts, in pixels at half size.
        mask_weight: w, the factor of the probabilities as mask prompt.
        fall_back: 'released', or 'intended': y stays in regions that were not accepted (q_c is above R_c).
        mask_norm: 'released', or 'channels', as SAM was trained.
    Raises:
        InputError: no transformers, no checkpoint, or one of something else; an unknown option.
    """

    needed = PARTS  # of a checkpoint
    encoder: ClassVar = {}  # settings of that of random weights

    def __init__(
        self,
        checkpoint: str | None,
        iou_threshold: Quality = 0.8,
        coarse_threshold: Share = 0.2,
        min_area: Natural = 225,
        mask_weight: Real = 0.005,
        fall_back: FallBack = "released",
        mask_norm: MaskNorm = "released",
    ) -> None:
        super().__init__()
        self.iou_threshold, self.coarse_threshold = iou_threshold, coarse_threshold
        self.min_area, self.mask_weight = min_area, mask_weight
        self.fall_back, self.mask_norm = fall_back, mask_norm
        self.keep(load(checkpoint, self.needed, **self.encoder))
        self.side, self.grid = self.prompt_encoder.input_image_size, self.prompt_encoder.image_embedding_size[0]
        self.requires_grad_(False).eval().float()

    def keep(self, sam: nn.Module) -> None:
        """What is needed of transformers' `SamModel`."""
        self.prompt_encoder, self.mask_decoder = sam.prompt_encoder, sam.mask_decoder
        self.register_buffer("positions", sam.get_image_wide_positional_embeddings().detach(), persistent=False)

    def seen(self, picture: Picture) -> tuple[Tensor, tuple[int, int]]:
        """What SAM's neck gives of a picture (256, 64, 64), and the picture's size (h, w) within SAM's input."""
        raise NotImplementedError

    def revise(self, labels: Tensor, maps: StitchedMaps | DenseMaps, picture: Picture) -> Tensor:
        return self.redraw(labels, picture.labelling.probabilities(maps), *self.seen(picture))

    @torch.no_grad()
    def redraw(self, labels: Tensor, probability: Tensor, embedding: Tensor, size: tuple[int, int]) -> Tensor:
        """Labels (H, W), int64, and probabilities (K, H, W) of the classes -> refined labels (H, W).

        `embedding` (256, 64, 64) is SAM's neck output for the picture, `size` (h, w) the picture's within SAM's input.
        """
        probability = probability.float()
        sure, halved = self.halve(labels, probability)
        refined, best = labels, torch.zeros_like(probability[0])
        failed = np.zeros_like(sure, dtype=bool)
        present = [int(index) for index in np.unique(sure) if 0 <= index < len(probability)]
        for index, q in zip(present, halved[present].cpu().numpy(), strict=True):
            regions = list(find_regions(sure == index, self.min_area)) if q.max() >= self.coarse_threshold else []
            if not regions:
                continue
            mask = self.mask_prompt(halved[index], labels.shape)
            logits, quality = self.predict(embedding.float(), *self.place(regions, q), mask)
            accepted = quality > self.iou_threshold
            for (box, inside), good in zip(regions, accepted.tolist(), strict=True):
                failed[box] |= inside & (not good)
            if not accepted.any():
                continue
            highest = self.enlarge(logits[accepted], size, labels.shape)
            score = torch.where(highest > 0, highest.sigmoid() * probability[index], 0)
            refined = torch.where(score > best, index, refined)
            best = torch.maximum(best, score)
        if self.fall_back == "intended":
            around = resized(torch.from_numpy(failed).to(best), labels.shape, "nearest") > 0
            refined = torch.where(around, labels, refined)
        return refined

    def halve(self, labels: Tensor, probability: Tensor) -> tuple[np.ndarray, Tensor]:
        """Labels (h, w), the unsure ones the number of classes, and probabilities (K, h, w), at half size."""
        half = tuple(max(1, side // 2) for side in labels.shape)
        halved = resized(probability, half, "bilinear")
        coarse = resized(labels.float(), half, "nearest").long()
        unsure = halved.amax(0) < self.coarse_threshold
        return coarse.masked_fill(unsure, len(probability)).cpu().numpy(), halved

    def place(self, regions: list[tuple[Box, np.ndarray]], q: np.ndarray) -> tuple[Tensor, Tensor]:
        """Points (R, 2: x, y) and boxes (R, 4: left, top, last x, last y) in SAM's input, of regions of q (h, w)."""
        height, width = fit(q.shape, self.side)
        scale = np.array([width / q.shape[1], height / q.shape[0]])
        points = np.array([peak(box, inside, q) for box, inside in regions])
        corners = [((x.start, y.start), (x.stop - 1, y.stop - 1)) for (y, x), _ in regions]
        boxes = (np.array(corners) * scale).reshape(-1, 4)
        return torch.from_numpy(points * scale).float(), torch.from_numpy(boxes).float()

    def mask_prompt(self, q: Tensor, full: tuple[int, int]) -> Tensor:
        """Mask prompt (256, 256) of a class with probabilities q (h, w), of a map whose `full` size is (H, W)."""
        side = 4 * self.grid
        height, width = fit(full, side)
        likely = F.pad(resized(q, (height, width), "bilinear"), (0, side - width, 0, side - height))
        return torch.where(likely > self.coarse_threshold, self.mask_weight * likely, 0)

    def predict(self, embedding: Tensor, points: Tensor, boxes: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Mask logits (R, 256, 256) and predicted IoU (R,) of any number of prompts."""
        prompts = (part.to(embedding.device).split(PROMPTS_AT_ONCE) for part in (points, boxes))
        found = [self.decode(embedding, *some, mask) for some in zip(*prompts, strict=True)]
        logits, quality = zip(*found, strict=True)
        return torch.cat(logits), torch.cat(quality)

    def decode(self, embedding: Tensor, points: Tensor, boxes: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """SAM's single mask for each of R prompts: logits (R, 256, 256), and the IoU that it predicts (R,)."""
        positive = torch.ones_like(points[None, :, None, 0])
        sparse = self.prompt_encoder(points[None, :, None], positive, boxes[None], None)[0]
        logits, quality = self.mask_decoder(
            image_embeddings=embedding[None],
            image_positional_embeddings=self.positions,
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=self.embed(mask),
            multimask_output=False,
        )[:2]
        return logits[0, :, 0], quality[0, :, 0]

    def embed(self, mask: Tensor) -> Tensor:
        """Mask prompt (256, 256) -> dense embedding (1, 256, 64, 64)."""
        net = self.prompt_encoder.mask_embed
        if self.mask_norm == "channels":
            return net(mask[None, None])
        hidden = net.activation(norm_over_height(net.conv1(mask[None, None]), net.layer_norm1))
        return net.conv3(net.activation(norm_over_height(net.conv2(hidden), net.layer_norm2)))

    def enlarge(self, logits: Tensor, size: tuple[int, int], full: tuple[int, int]) -> Tensor:
        """The highest of masks' logits (R, 256, 256) over the picture of `size` in SAM's input: (H, W) = `full`."""
        highest = logits.new_full(full, -torch.inf)
        for some in logits.split(ENLARGED_AT_ONCE):
            within = resized(some, (self.side, self.side), "bilinear")[:, : size[0], : size[1]]
            highest = torch.maximum(highest, resized(within, full, "bilinear").amax(0))
        return highest


@STEPS.register_module()
@checked
class SAMRefinement(MaskRefinement):
    """`MaskRefinement` of what SAM itself sees.

    Args:
        guide: config of the `SAMGuide` whose encoder sees the picture; None is that of ViT-B. A model's other parts
            that ask the same one share it, and what it says.
        settings: of `MaskRefinement`.
    """

    needs_original = True

    def __init__(
        self,
        checkpoint: str | None = "facebook/sam-vit-base",
        guide: dict | None = None,
        **settings: object,
    ) -> None:
        super().__init__(checkpoint, **settings)
        self.guide = GUIDES.build(guide or dict(type="SAMGuide"))
        self.guide.requires_grad_(False).eval()

    def seen(self, picture: Picture) -> tuple[Tensor, tuple[int, int]]:
        seen = picture.last_attention(self.guide)
        if seen.embedding is None:
            raise InputError(f"SAMRefinement needs a SAMGuide, and its guide is a {type(self.guide).__name__}")
        return seen.embedding, seen.size


def load(checkpoint: str | None, parts: tuple[str, ...] = PARTS, **random: int) -> nn.Module:
    """SamModel of a checkpoint that has `parts`, or one with random weights and no image encoder.

    `random`: settings of the latter's encoder.
    """
    try:
        from transformers import SamConfig, SamModel
    except ImportError as error:
        raise InputError("refinement with SAM needs transformers: pip install .[vfm]") from error
    if checkpoint is None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return SamModel(SamConfig(vision_config=dict(num_hidden_layers=0, **random)))
    folder, own = Path(checkpoint).expanduser(), {}
    try:
        if (
            folder.is_dir()
            and (pickled := folder / "pytorch_model.bin").is_file()
            and not any(folder.glob("model*.safe*"))
        ):
            own = dict(config=SamConfig.from_pretrained(folder), state_dict=read(pickled).state)
        # transformers reads safetensors only; what is pickled was read as data.
        name = dict(pretrained_model_name_or_path=None if own else place(checkpoint))
        sam, report = SamModel.from_pretrained(**name, **own, use_safetensors=True, output_loading_info=True)
    except InputError:
        raise
    except Exception as error:  # transformers, the hub and safetensors raise what they like
        raise InputError(
            f"the SAM checkpoint {checkpoint!r} is not on this machine and could not be downloaded, or is unreadable.\n"
            "  Fetch it elsewhere, e.g. from https://huggingface.co/facebook/sam-vit-base, and give as checkpoint\n"
            "  the folder that it lies in: FOLDER/config.json and FOLDER/model.safetensors."
        ) from error
    missing = [name for name in report["missing_keys"] if name.startswith(parts)]
    state = {name: tensor for name, tensor in sam.state_dict().items() if name.startswith(parts)}
    refuse_unfit(checkpoint, "SAM checkpoint", missing, state)
    return sam


def find_regions(of_class: np.ndarray, min_area: int) -> Iterator[tuple[Box, np.ndarray]]:
    """8-connected regions of a map (h, w), the smaller ones dropped: the tight box, and what is inside within it."""
    parts, _ = ndimage.label(of_class, structure=np.ones((3, 3)))
    for number, box in enumerate(ndimage.find_objects(parts), start=1):
        inside = parts[box] == number
        if inside.sum() >= min_area:
            yield box, inside


def peak(box: Box, inside: np.ndarray, q: np.ndarray) -> tuple[int, int]:
    """x, y of the first largest q (h, w) in a region."""
    y, x = np.unravel_index(np.where(inside, q[box], -np.inf).argmax(), inside.shape)
    return box[1].start + x, box[0].start + y


def fit(size: tuple[int, int], long_side: int) -> tuple[int, int]:
    """`size`, scaled to that long side and rounded, half up."""
    return tuple(max(1, int(side * (long_side / max(size)) + 0.5)) for side in size)


def resized(maps: Tensor, size: tuple[int, int], mode: str) -> Tensor:
    """Maps (..., h, w), scaled to `size`; 'nearest' or 'bilinear' without aligned corners."""
    stack = maps.reshape(1, -1, *maps.shape[-2:])
    corners = {} if mode == "nearest" else dict(align_corners=False)
    return F.interpolate(stack, size, mode=mode, **corners).reshape(*maps.shape[:-2], *size)


def norm_over_height(maps: Tensor, norm: nn.LayerNorm) -> Tensor:
    """The published slip: maps (1, C, h, w), normalised down their columns, with the norm's weights of channels."""
    centred = maps - maps.mean(2, keepdim=True)
    scaled = centred / (centred.square().mean(2, keepdim=True) + norm.eps).sqrt()
    return norm.weight[:, None, None] * scaled + norm.bias[:, None, None]
