"""`OpenVocabSegmentor`: pictures in, labels out. It is handed its parts and only composes them.

look     windows through the trunk; the tail keeps what it needs of each           -> `Picture`
score    the tail reads the picture, stages revise its scores, they are stitched   -> `StitchedMaps`
refine   steps on score maps                                                       -> maps
label    the best class of each pixel, then steps on labels                        -> labels
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import astuple, replace
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Literal

import torch
from mmengine.registry import Registry
from mmengine.structures import PixelData
from mmseg.models.segmentors import BaseSegmentor
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import Tensor

from ..drawing import make_palette
from ..errors import InputError
from ..registry import STAGES, STEPS, one_of_each
from ..settings import Natural, Pixels, Positive, Share, checked
from ..towers.encoder import DTYPES, DenseCLIP
from ..towers.guide import Guide
from ..towers.tail import Tail
from ..towers.together import once
from ..words.auxiliary_texts import AuxiliaryTexts
from ..words.templates import templates as template_set
from ..words.text import TextBank, by_template, text_bank
from ..words.vocabulary import Vocabulary
from .picture import Picture, regrouped
from .preprocessor import LONG_SIDE, Preprocessor
from .refine.step import LabelStep, ScoreStep
from .scores import DenseMaps, Labelling, StitchedMaps
from .stage import Asked, Stage
from .window import Windows, WindowSettings, windows


@MODELS.register_module()
@checked
class OpenVocabSegmentor(BaseSegmentor):
    """Training-free segmentation of a picture with the words of a vocabulary.

    Args:
        backbone: config of `DenseCLIP`, the method's tail in it.
        vocabulary: shipped name, path or inline list (`Vocabulary.load`).
        short_side, long_side: size that a picture is read at (`Preprocessor`).
        window: `crop` and `stride` in pixels, or `crop=None` for the whole picture; `batch` windows at a time;
            `padding` 'stretch' or 'symmetric', to a multiple of `unit`, which is the patches' own (`window.windows`).
        logit_scale, background, background_threshold, min_area: from scores to labels (`Labelling`).
        stages: names or configs of stages, in order, which revise a picture's scores before they are stitched.
        refine: names or configs of steps, in order: those on the score maps, then those on the labels made from them:
            `['PAMR']`, `[dict(type='PAMR', steps=10), dict(type='Closing')]`.
        auxiliary: `texts` and `weight` of further texts for the classes (`AuxiliaryTexts.load`), or None.
        templates: name of a template set, or a list of templates.
        precision: 'fp32', 'bf16' or 'fp16' of both towers; 'auto' is fp16 on CUDA, as the authors ran, fp32 elsewhere.
        text_cache: folder that keeps text banks, or None.
        keep_scores: leave the class probabilities (K, H, W) in `seg_logits` of the results.
        pretrained, train_cfg: None; mmseg's `init_model` sets them.
    Raises:
        InputError: settings that contradict each other or the vocabulary.
    """

    def __init__(
        self,
        backbone: dict,
        vocabulary: str | list,
        short_side: Pixels | None = 336,
        long_side: Pixels = LONG_SIDE,
        window: WindowSettings | None = None,
        logit_scale: Positive | None = 40.0,
        background: Natural | None = None,
        background_threshold: Share = 0.0,
        min_area: Share = 0.0,
        stages: list[dict | str] | tuple[dict | str, ...] = (),
        refine: list[dict | str] | tuple[dict | str, ...] = (),
        auxiliary: dict | None = None,
        templates: str | list[str] | tuple[str, ...] = "imagenet80",
        precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto",
        text_cache: str | None = None,
        keep_scores: bool = False,
        pretrained: None = None,
        train_cfg: None = None,
    ) -> None:
        super().__init__()
        with one_of_each():
            self.backbone = MODELS.build(backbone)
            self.stages = torch.nn.ModuleList(_built(STAGES, stages))
            steps = _built(STEPS, refine)
        for step in steps:
            step.check_tower(self.backbone)
        order = [isinstance(step, LabelStep) for step in steps]
        if order != sorted(order):
            raise InputError(f"refine has a step on score maps after one on labels: {refine}")
        self.score_steps = torch.nn.ModuleList(step for step in steps if isinstance(step, ScoreStep))
        self.label_steps = torch.nn.ModuleList(step for step in steps if isinstance(step, LabelStep))
        self.data_preprocessor = Preprocessor(
            self.backbone.mean, self.backbone.std, self.backbone.patch, short_side, long_side
        )
        parts: list[Tail | Stage | ScoreStep | LabelStep] = [self.backbone.tail, *self.stages, *steps]
        self.data_preprocessor.keep_original = any(part.needs_original for part in parts)
        self.templates = template_set(templates)
        self.window = dict(crop=224, stride=112, batch=16, padding="stretch", unit=None) | (window or {})
        self.precision, self.text_cache, self.keep_scores = precision, text_cache, keep_scores
        self.logit_scale = logit_scale
        self.windows_over((self.backbone.patch, self.backbone.patch))  # refuses sizes that contradict each other
        self.backbone.tail.check_window(self.window, self.backbone.patch)
        self.encoded: dict[str, Tensor] = {}  # features of the queries that were ever asked for
        self.set_vocabulary(vocabulary, background, background_threshold, min_area)
        self.auxiliary = None if auxiliary is None else AuxiliaryTexts.load(**auxiliary)
        if self.auxiliary is not None:
            self.auxiliary.check(self.vocabulary)

    @checked
    def set_vocabulary(
        self,
        vocabulary: str | Sequence[str | Sequence[str]],
        background: Natural | None = None,
        background_threshold: Share = 0.0,
        min_area: Share = 0.0,
    ) -> None:
        """Other words from now on, for the tower as it is; the arguments are those of the class.

        Queries that were encoded before are not encoded again. Auxiliary texts, which belong to the words before, go.
        Raises InputError, and then everything is as it was.
        """
        words = Vocabulary.load(vocabulary)
        sizes, winner = (torch.tensor(n) for n in ([len(queries) for queries in words.classes], words.winner))
        labelling = Labelling(sizes, self.logit_scale, background, background_threshold, min_area, winner)
        if background is None and (background_threshold or min_area):
            raise InputError(
                "background_threshold and min_area need a background class, and this vocabulary has none "
                "(background=None): low scores would be given to a class of their own"
            )
        if background is not None and background >= len(words):
            raise InputError(f"background is class {background}, and the vocabulary has {len(words)} classes")
        for stage in self.stages:
            stage.check(words, self.templates)
        self.vocabulary, self.labelling, self.auxiliary = words, labelling, None
        self.text: TextBank | None = None
        self._dataset_meta = dict(classes=words.names, palette=make_palette(len(words)))

    @property
    def dataset_meta(self) -> dict:
        """Names and colours of the classes, where mmseg looks for them."""
        return self._dataset_meta

    @dataset_meta.setter
    def dataset_meta(self, other: dict) -> None:
        """Keeps those of the vocabulary: mmseg's inferencer, given no checkpoint, sets Cityscapes'."""

    def settle(self) -> None:
        """Settles the precision where the model now is.

        fp32 is that of the whole of fp32 on a GPU too: where torch would round the factors of products and
        convolutions to TF32's 10 bits (convolutions do so unless told otherwise), it does no longer in this process.
        """
        torch.backends.cudnn.allow_tf32 = False
        torch.set_float32_matmul_precision("highest")
        if self.precision == "auto":
            self.precision = "fp16" if next(self.backbone.parameters()).is_cuda else "fp32"
        self.backbone.set_precision(self.precision)
        for guide in self.modules():
            if isinstance(guide, Guide):  # those of stages and steps too
                guide.to(DTYPES[self.precision])

    def prepare(self) -> None:
        """Settles the precision where the model now is, and encodes or loads the text bank. Done once a vocabulary."""
        if self.text is not None:
            return
        self.settle()
        like, second = next(self.backbone.parameters()), self.backbone.tail.second_tower
        encode = self.encoder(self.backbone, self.encoded)
        bank = encode(self.vocabulary)
        if self.auxiliary is not None:
            bank = self.auxiliary.blend(bank, encode(self.auxiliary.vocabulary))
        beside = Vocabulary.load(self.backbone.tail.beside) if self.backbone.tail.beside else None
        texts = None if beside is None else encode(beside).features
        other = None if second is None else self.encoder(second, {})(self.vocabulary).features
        asked = any(stage.needs_templates for stage in self.stages)
        single = by_template(encode, self.vocabulary, self.templates) if asked else None
        apart = dict(beside=texts, second=other, single=single)
        self.text = replace(bank, background=self.labelling.background, **apart).to(like)
        self.labelling = self.labelling.to(like.device)

    def encoder(self, tower: DenseCLIP, known: dict[str, Tensor]) -> Callable[[Vocabulary], TextBank]:
        """Makes banks of words by a tower, as this model keeps them; `known` features are not encoded again."""
        key = f"{tower.digest} {tower.precision} {next(tower.parameters()).device.type}"
        cache = Path(self.text_cache) if self.text_cache else None
        keep = dict(templates=self.templates, key=key, cache=cache, known=known)
        return partial(text_bank, tower.clip, tower.words, **keep)

    @torch.no_grad()
    def predict(self, inputs: list[Tensor], data_samples: list[SegDataSample] | None = None) -> list[SegDataSample]:
        """Labels of normalised pictures (3, h, w) of any sizes, at each sample's `ori_shape`.

        Fills `pred_sem_seg` (1, H, W) and, if kept, `seg_logits` (K, H, W). Neighbours of one size share the trunk's
        batches, which moves nothing but the last digits of a score.
        """
        self.prepare()
        samples = data_samples or [SegDataSample() for _ in inputs]
        for sample, (labels, maps) in zip(samples, self.segment(inputs, samples), strict=True):
            sample.set_data({"pred_sem_seg": PixelData(data=labels[None])})
            if self.keep_scores:
                sample.set_data({"seg_logits": PixelData(data=self.labelling.probabilities(maps))})
        return samples

    def segment(
        self, inputs: list[Tensor], samples: list[SegDataSample]
    ) -> Iterator[tuple[Tensor, StitchedMaps | DenseMaps]]:
        """Labels (H, W) of each picture, and the refined score maps that they were made of, one after the other."""
        for picture in self.look(inputs, samples):
            maps = self.refine(self.score(picture), picture)
            yield self.label(maps, picture), maps

    def fitted(self, image: Tensor) -> Tensor:
        """The network's input (3, h, w) as windows are cut from it."""
        return self.backbone.tail.fitted(image, self.window, self.backbone.patch)

    def windows_over(self, size: tuple[int, int], whole: bool = False) -> Windows:
        """The windows over a network input of `size` (h, w); `whole`: a single one."""
        w = self.window
        unit = w["unit"] or self.backbone.unit
        return windows(size, None if whole else w["crop"], w["stride"], self.backbone.patch, w["padding"], unit)

    def look(self, inputs: Sequence[Tensor], samples: Sequence[SegDataSample]) -> Iterator[Picture]:
        """Each of the normalised pictures (3, h, w) after its windows went through the trunk, one after the other.

        The windows of neighbours of one size go through together. A sample says the labels' size, `ori_shape`, and
        holds the `original` where something looks at it, which is taken out.
        """
        trunk, fitted = self.backbone.trunk, [self.fitted(image) for image in inputs]
        asked = Asked.by(self.stages)
        together = zip(inputs, fitted, samples, strict=True)
        for shape, neighbours in groupby(together, key=lambda one: tuple(one[1].shape[1:])):
            group, plan = list(neighbours), self.windows_over(shape)
            batches = plan.batches([own for _, own, _ in group], self.window["batch"])
            batches = (self.backbone.keep(batch, self.text, **asked.of_windows(len(plan))) for batch in batches)
            for (image, own, sample), kept in zip(group, regrouped(batches, len(plan)), strict=True):
                size = tuple(sample.get("ori_shape", image.shape[1:]))
                yield Picture(
                    *(image, own, size, plan, kept["tail"], self.text, trunk, self.window["batch"], self.labelling),
                    original=sample.pop("original", None),
                    **dict(name=Path(sample.get("img_path") or "").stem, provider=self.backbone.tail.provider),
                    whole=self.backbone.gather(own[None], self.text) if self.backbone.tail.needs_whole else None,
                    **asked.given(kept, partial(self.backbone.summary, own[None])),
                    **dict(tower=self.backbone, names=self.vocabulary.names),
                )

    def score(self, picture: Picture) -> StitchedMaps | DenseMaps:
        """The score maps of the queries, at the labels' size: as the tail reads them, revised by the stages."""
        read_by = self.backbone.clip, self.backbone.tail, list(self.stages), self.text
        seen = picture.image, picture.fitted, picture.original, picture.size, astuple(picture.plan), picture.batch
        return once("scores", read_by, seen, compute=lambda: self._scored(picture), shared=picture.for_any_labelling)

    def _scored(self, picture: Picture) -> StitchedMaps | DenseMaps:
        scores = self.backbone.tail.read(picture)
        for stage in self.stages:
            scores = stage(scores, picture)
        return scores.maps(picture.size)

    def refine(self, maps: StitchedMaps | DenseMaps, picture: Picture) -> StitchedMaps | DenseMaps:
        """The maps after every step on scores, or as they are when there is none."""
        for step in self.score_steps:
            revise = partial(step.revise, maps, picture)
            maps = once("refined", step, maps, self.text, compute=revise, shared=picture.for_any_labelling)
        return maps

    def label(self, maps: StitchedMaps | DenseMaps, picture: Picture) -> Tensor:
        """Labels (H, W) of refined maps after every step on labels."""
        labels = self.labelling.labels(maps)
        for step in self.label_steps:
            labels = step.revise(labels, maps, picture)
        return labels

    def _forward(self, inputs: list[Tensor], data_samples: list[SegDataSample] | None = None) -> list[Tensor]:
        return self.extract_feat(inputs)

    def extract_feat(self, inputs: list[Tensor]) -> list[Tensor]:
        """Patch features (D, h, w) of each picture, read as one window."""
        self.prepare()
        return [self.backbone(picture[None], self.text)[0] for picture in inputs]

    def encode_decode(self, inputs: list[Tensor], batch_data_samples: list[SegDataSample]) -> list[Tensor]:
        """Class probabilities (K, H, W) of each picture, at its `ori_shape`."""
        self.prepare()
        pictures = self.look(inputs, batch_data_samples)
        return [self.labelling.probabilities(self.refine(self.score(picture), picture)) for picture in pictures]

    def loss(self, inputs: list[Tensor], data_samples: list[SegDataSample]) -> dict:
        raise NotImplementedError("the methods are training-free: there is no loss")


def _built(registry: Registry, parts: Sequence[dict | str]) -> list[torch.nn.Module]:
    return [registry.build({"type": part} if isinstance(part, str) else part) for part in parts]
