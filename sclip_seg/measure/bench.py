"""What is timed: a method on a picture of a benchmark's size, with random weights, and the bare networks beside it."""

import copy
import math
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import nn

from ..config import CONFIGS, load_config
from ..methods.zsseg import ZSSeg
from ..picture.segmentor import OpenVocabSegmentor
from ..picture.stage import Stage
from ..towers.encoder import DTYPES, DenseCLIP
from ..towers.positions import resample
from ..words.text import TextBank
from .speed_command import Case
from .towers import Work, bare_towers

REGIONS = "felzenszwalb"  # the others need weights
NAME = "picture"  # of the picture's file


class Bench:
    """The segmentor of a case with random weights and text, and a random picture for it.

    `protocol`: another method whose config it has, but for the tail; `settings` of the model in place of the config's;
    `regions`: how many, read from disk each time, in place of those that are found anew in a picture of noise.
    """

    def __init__(
        self,
        case: Case,
        method: str,
        backbone: str,
        precision: str,
        protocol: str | None = None,
        settings: dict | None = None,
        regions: int | None = None,
    ) -> None:
        warnings.simplefilter("ignore")
        self.case, self.device = case, torch.device("cuda" if torch.cuda.is_available() else "cpu")
        config = load_config(CONFIGS / f"{protocol or method}.py", case.dataset, backbone)
        if protocol:
            own = load_config(CONFIGS / f"{method}.py", case.dataset, backbone).model.backbone.tail
            config.model.backbone.tail = own.to_dict()
        config.model.backbone.pretrained = None
        self.place = tempfile.TemporaryDirectory(prefix="regions-")
        source = dict(type=REGIONS, folder=None) if regions is None else maps(Path(self.place.name), case.size, regions)
        for place in {"guide", "affinity"} & config.model.backbone.tail.keys():
            config.model.backbone.tail[place].pretrained = None
        steps = config.model.get("refine", [])
        # One asks RADIO, which is no tower of open_clip's, whose own is timed beside.
        config.model.refine = [step for step in steps if isinstance(step, str) or step.type != "RADIORefinement"]
        for part in [*config.model.get("stages", []), *config.model.refine]:
            if "checkpoint" in part:
                part.checkpoint = None
            if "guide" in part:
                part.guide.pretrained = None
            if "regions" in part:
                part.regions = source
        if "regions" in config.model.backbone.tail:
            config.model.backbone.tail.regions = source
        config.model.update(precision=precision, text_cache=None, **(settings or {}))
        self.model: OpenVocabSegmentor = MODELS.build(config.model).eval().to(self.device)
        self.model.backbone.set_precision(precision)
        self.model.labelling = self.model.labelling.to(self.device)
        queries = len(self.model.vocabulary.queries)
        width = self.model.backbone.clip.visual.proj.shape[1]
        text = F.normalize(torch.randn(queries, width, generator=torch.Generator().manual_seed(0)), dim=-1)
        owner = torch.tensor(self.model.vocabulary.owner)
        self.model.text = TextBank(text, owner, len(self.model.vocabulary)).to(next(self.model.parameters()))
        self.picture = torch.randint(0, 256, (3, *case.size), dtype=torch.uint8)
        small = self.model.data_preprocessor({"inputs": [self.picture]})["inputs"][0]
        self.size = tuple(small.shape[1:])
        fitted = self.model.fitted(small)
        self.cut = torch.cat(list(self.model.windows_over(fitted.shape[1:]).cut([fitted], batch=10**6)))
        self.windows = self.cut.to(DTYPES[precision])
        self.visual = tower_for(self.model.backbone, tuple(self.windows.shape[2:]))

    def trunk(self) -> None:
        """open_clip's own vision transformer on the same windows, in one batch."""
        self.visual(self.windows)

    def towers(self, count: int = 1) -> Work:
        """That and the bare second models, on what they see of `count` such pictures."""
        crops = sum(self._pieces(stage) for stage in self.model.stages)
        return bare_towers(self.model, self.visual, self.cut, self.case.size, count, crops)

    def _pieces(self, stage: Stage) -> int:
        """How many crops of the picture a stage sends through the tower."""
        if not isinstance(stage, ZSSeg) or stage.reader != "crops":
            return 0
        return stage.regions(self.picture.permute(1, 2, 0).numpy()[:, :, ::-1], NAME).count

    def ours(self) -> None:
        """A decoded picture to its labels."""
        sample = SegDataSample(metainfo={"ori_shape": self.case.size, "img_path": NAME})
        self.model.test_step({"inputs": [self.picture], "data_samples": [sample]})

    def reference(self, chain: ModuleType) -> None:
        """The same, by the published chain: window by window, whole tensors at every step."""
        data = self.model.data_preprocessor({"inputs": [self.picture]})
        window, rule = self.model.window, self.model.labelling
        boxes = chain.mmseg_boxes(self.size, window["crop"], window["stride"])
        crops = (data["inputs"][0][None, :, top:bottom, left:right] for top, left, bottom, right in boxes)
        tiles = torch.cat([self.model.backbone.score(crop, self.model.text) for crop in crops])
        plan = (self.size, window["crop"], window["stride"], self.model.backbone.patch, window["padding"])
        scores = chain.stitched(tiles, *plan, self.case.size)
        probability = chain.class_probabilities(scores, rule.owner.tolist(), rule.logit_scale)
        if rule.min_area:
            probability = chain.after_area_filter(probability, rule.min_area)
        chain.labels(probability, rule.background_threshold)


def maps(folder: Path, size: tuple[int, int], count: int) -> dict:
    """Config of a provider that reads `count` equal rectangles of a picture of `size` (H, W) from a file there."""
    rows = max(1, round(math.sqrt(count * size[0] / size[1])))
    y, x = (
        np.arange(side)[:, None] * cells // side for side, cells in zip(size, (rows, -(-count // rows)), strict=True)
    )
    ids = np.minimum(1 + y * (x.max() + 1) + x.T, count).astype(np.uint16)
    cv2.imwrite(str(folder / f"{NAME}.png"), ids)
    return dict(type="files", maps=str(folder))


def tower_for(backbone: DenseCLIP, size: tuple[int, int]) -> nn.Module:
    """open_clip's tower, or for windows of another size than its own, (H, W), a copy with positions for them."""
    visual, patch = backbone.clip.visual, backbone.patch
    native, grid = (tuple(side // patch for side in sides) for sides in (visual.image_size, size))
    if grid == native:
        return visual
    visual = copy.deepcopy(visual)
    visual.positional_embedding = nn.Parameter(resample(visual.positional_embedding, native, grid), requires_grad=False)
    return visual


@torch.no_grad()
def timed(work: Callable[[], None], cuda: bool) -> float:
    """Seconds."""
    start = time.perf_counter()
    work()
    if cuda:
        torch.cuda.synchronize()
    return time.perf_counter() - start
