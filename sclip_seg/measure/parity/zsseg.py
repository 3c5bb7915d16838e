"""zsseg's second stage and SCAN's, on the photo with given proposals, and SG-IoU of given counts.

    stage_zsseg   `mask_logits_x16`, `embedding`, `void`, `text` (nothing is its last row) -> TAG.semseg, TAG.label
    stage_scan    TAG.feature, TAG.semseg, TAG.label of the same; `region_grid`, `global_cls`; `sgiou.*`, `iou.*`

The proposals lie over the photo padded to multiples of 32. `semseg` is every 16th pixel, `crops` every 28th,
`mask_prob` every 30th row and 40th column. What a trained network makes of its queries (`sim.*`), and of learned
prompts (`prompted_text`), is not ours.
"""

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import cache, cached_property, partial
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ...evaluate.relations import excused, scores, taken_for_fathers
from ...methods.scan import UNIT, background, class_tokens, shifted, with_void
from ...methods.zsseg import class_features, crops, fused, mixture
from ...regions.head import ProposalHead
from ...regions.pieces import pieces
from ...regions.regions import SoftRegions
from ...towers.encoder import DenseCLIP
from .names import UnknownName, Words, nothing, options
from .outcome import CLOSE, Part, differing, gap
from .reading import Check, File, Group, reads
from .reference import Reference

SCALE = 100  # of both papers
EVERY = 16  # pixel of the scores is kept
SCORES = 1e-4  # of sums over masks of exponentials of 100 cosines; labels whose best two are closer may differ
TRAINED = (0, 2, 3, 6)  # the classes that count as trained on
PARTS = ("semseg", "label", "valid", "box_xyxy", "crops", "feature", "mask_prob")
SHALLOW, DEEP = (1, 3, 5), (1, 3, 5, 7, 9)
# Of a tag of SCAN that does not say them: threshold, ratio and blocks, its table's for ViT-B on ADE150 and L on ADE847.
SHIFTS = {"w0.7": (0.4, 0.05, SHALLOW), "log_w0.75": (0.3, 0.15, DEEP)}


@dataclass(frozen=True)
class Given:
    """The photo, its proposals, and what the head says of them."""

    tower: DenseCLIP
    image: Tensor
    regions: SoftRegions
    text: Tensor
    head: Tensor

    @classmethod
    def of(cls, reference: Reference, path: Path) -> "Given":
        """Of a file that has the proposals."""
        tower = reference.backbone(dict(type="LastBlock", attention="qk"))
        rgb = reference.recipe.tiny_photo().permute(2, 0, 1).float() / 255
        mean, std = (rgb.new_tensor(values).view(3, 1, 1) for values in (tower.mean, tower.std))
        size = tuple(rgb.shape[1:])
        with closing(File(path)) as file:
            named = {key: torch.from_numpy(file[key]).to(rgb) for key in ("embedding", "void", "text")}
            logits = torch.from_numpy(file["mask_logits_x16"]).to(rgb) / 16
        padded = tuple(-(-side // UNIT) * UNIT for side in size)
        full = F.interpolate(logits[None], padded, mode="bilinear", align_corners=False)[0, :, : size[0], : size[1]]
        text = named["text"][:-1]
        head = ProposalHead("given", named["void"][0]).probabilities(named["embedding"], text, SCALE)
        return cls(tower, (rgb - mean) / std, SoftRegions(full, size, full.new_ones(len(full))), text, head)

    @cached_property
    def seen(self) -> Tensor:
        """Which classes count as trained on."""
        return torch.tensor([index in TRAINED for index in range(len(self.text))], device=self.text.device)

    @cached_property
    def tokens(self) -> dict[int, Tensor]:
        """The photo's class token after each block."""
        return class_tokens(self.tower, self.image, range(self.tower.trunk.depth))

    def named(self, feature: Tensor, valid: Tensor) -> Tensor:
        """p (R, K), 1 where there is no crop."""
        p = feature.new_ones(len(valid), len(self.text))
        p[valid] = (SCALE * feature @ self.text.T).softmax(1)
        return p


def given_by(reference: Reference) -> Given:
    """The proposals that both files share."""
    path = reference.folder / "stage_zsseg.npz"
    if not path.is_file():
        raise UnknownName("the proposals of stage_zsseg.npz are missing")
    return Given.of(reference, path)


@reads("stage_zsseg")
def zsseg(reference: Reference, file: File) -> Iterator[Check]:
    """A case for each tag."""
    given = cache(partial(given_by, reference))
    aside = ("mask_logits_x16", "embedding", "void", "text", "prompted_text")
    words = {
        "clip_only": lambda: dict(share=None, head=False),
        "resized": lambda: dict(share=None, head=False),
        "head_only": lambda: dict(share=None),
        **{"fused": nothing, "w": lambda w: dict(share=w), "thr": lambda t: dict(threshold=t)},
        "trained": lambda: dict(trained=True),
    }
    yield Check("stage", "zsseg", ["mask_logits_x16", "embedding", "void", "text"], lambda: iter(()))  # given
    for group in file.grouped(PARTS, aside):
        if "semseg" in group:
            yield group.check("stage", f"zsseg {group.head}", PARTS, partial(second_stage, given, group, words))


def second_stage(given: Callable[[], Given], group: Group, words: Words) -> Iterator[Part]:
    """Masks, crops, features as far as the group has them, and scores."""
    case = dict(share=0.0, head=True, threshold=0.5, trained=False) | options(group.head, words)
    seen = given()
    found = list(pieces(seen.regions, case["threshold"]))
    valid = torch.tensor([piece is not None for piece in found], device=seen.image.device)
    cut = torch.cat([*crops(seen.image, [piece for piece in found if piece], seen.tower.native, 16)])
    feature = class_features(seen.tower, cut)
    if "mask_prob" in group:
        yield "masks", gap(seen.regions.masks()[:, ::30, ::40], group["mask_prob"]), CLOSE
        yield "masks with a pixel off", differing(valid, group["valid"]), 0.0
        boxes = torch.tensor([piece.box for piece in found if piece])[:, [1, 0, 3, 2]]
        yield "boxes off", differing(boxes, group["box_xyxy"]), 0.0
        yield "crops", gap(cut[:, :, ::28, ::28], group["crops"]), CLOSE
        yield "features", gap(feature, group["feature"]), CLOSE
    p = seen.named(feature, valid)
    if not case["head"]:
        c = p.masked_fill(~valid[:, None], 0)
    elif case["share"] is None:
        c = seen.head[:, :-1]
    else:
        c = fused(seen.head[:, :-1], p, case["share"], seen.seen & case["trained"])
    yield from labelled(seen, c, valid, group)


def labelled(seen: Given, c: Tensor, valid: Tensor, group: Group) -> Iterator[Part]:
    """Scores at the labels' size, and the labels of all pixels whose two best are not within rounding."""
    total, _ = mixture(seen.regions, c, valid, 0.5)
    size = group["label"].shape
    if tuple(total.shape[1:]) != size:
        total = F.interpolate(total[None], size, mode="bilinear", align_corners=False)[0]
    yield "scores", gap(total[:, ::EVERY, ::EVERY], group["semseg"]), SCORES
    best = total.topk(2, dim=0).values
    clear = (best[0] - best[1] > 2 * SCORES).cpu().numpy()
    yield "wrong labels", float(((total.argmax(0).cpu().numpy() != group["label"]) & clear).sum()), 0.0


@reads("stage_scan")
def scan(reference: Reference, file: File) -> Iterator[Check]:
    """A case for each tag, the shared tokens, and the counts."""
    given = cache(partial(given_by, reference))
    if "global_cls" in file:
        keys = ["region_grid", "global_cls", "global_final"]
        yield Check("stage", "scan whole picture", keys, partial(whole, given, file))
    for group in file.grouped(("semseg", "label", "feature")):
        if "semseg" in group:
            parts = ("semseg", "label", "feature")
            yield group.check("stage", f"scan {group.head}", parts, partial(contextual, given, group))
    if "sgiou.per_class" in file:
        keys = [key for key in file.keys if key.startswith(("sgiou.", "iou.", "relation_", "confusion_"))]
        yield Check("stage", "scan SG-IoU", keys, partial(counted, file))


def whole(given: Callable[[], Given], file: File) -> Iterator[Part]:
    """The photo's class tokens, the first of which is before all blocks, and the patches of the regions."""
    seen = given()
    grids = [~background(piece, seen.tower.native, seen.tower.patch) for piece in pieces(seen.regions) if piece]
    yield "patches off", differing(torch.stack(grids).view(file["region_grid"].shape), file["region_grid"]), 0.0
    yield "class tokens", gap(torch.stack([*seen.tokens.values()]), file["global_cls"][1:]), SCORES
    last = seen.tokens[seen.tower.trunk.depth - 1]
    final = F.normalize(seen.tower.trunk.joint(last[None, None])[0].float(), dim=1)
    yield "feature", gap(final, file["global_final"]), CLOSE


def contextual(given: Callable[[], Given], group: Group) -> Iterator[Part]:
    """Features of the shifted crops, and scores."""
    seen, name = given(), group.head
    if name.startswith("fused_"):
        if name.removeprefix("fused_") not in SHIFTS:
            raise UnknownName(f"{name} does not say how its crops are shifted")
        threshold, ratio, blocks = SHIFTS[name.removeprefix("fused_")]
    else:
        ratio = options(name, {"shift": lambda ratio: dict(ratio=ratio)})["ratio"]
        threshold, blocks = 0.5, DEEP
    found = list(pieces(seen.regions, threshold))
    valid = torch.tensor([piece is not None for piece in found], device=seen.image.device)
    there = [piece for piece in found if piece]
    outside = [background(piece, seen.tower.native, seen.tower.patch) for piece in there]
    shown = {block - 1: seen.tokens[block - 1] for block in blocks}
    cut = torch.cat([*crops(seen.image, there, seen.tower.native, 16)])
    feature = shifted(seen.tower, cut, outside, shown, ratio)
    yield "features", gap(feature, group["feature"]), CLOSE
    p = seen.named(feature, valid)
    c = p.masked_fill(~valid[:, None], 0)
    if name.startswith("fused_"):
        c = fused(seen.head[:, :-1], p, float(name.rpartition("_w")[2]), seen.seen & False)
        c = with_void(c, seen.head[:, -1:]) if "log" in name else c
    yield from labelled(seen, c, valid, group)


def counted(file: File) -> Iterator[Part]:
    """IoU and SG-IoU of the counts, predictions by row; the last row and column are ignored labels."""
    counts = file["confusion_pred_by_label"][:-1, :-1].T
    fathers: list[list[int]] = [[] for _ in counts]
    for child, father in zip(file["relation_child"].tolist(), file["relation_father"].tolist(), strict=True):
        fathers[child].append(father)
    agreement, predicted, labels = counts.diagonal(), counts.sum(0), counts.sum(1)
    excuses = excused(taken_for_fathers(counts, fathers), fathers, agreement, predicted)
    for name, granted in (("iou", agreement), ("sgiou", agreement + excuses)):
        found = scores(granted, agreement, predicted, labels)
        means = [found[mean] for mean in ("mean", "weighted", "mean_accuracy", "all_accuracy")]
        yield f"{name} by class", gap(np.nan_to_num(found["iou"]), np.nan_to_num(file[f"{name}.per_class"])), 1e-9
        yield f"{name} means", gap(np.array(means), file[f"{name}.means"]), 1e-9
