"""The work of `sclip-seg test --vocabulary auto`: words are found in each picture, and scored over its labels."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.registry import MODELS
from mmseg.datasets import BaseSegDataset
from prettytable import PrettyTable

from ...bars import Bar
from ...config import load_config
from ...data.datasets import build_dataset
from ...data.digest import data_digest, picture_keys
from ...data.labels import LabelRule
from ...errors import InputError
from ...files import write_atomically
from ...picture.finding.finder import AutoWords, Finder
from ...picture.segmentor import OpenVocabSegmentor
from ...words.auto_options import auto_settings
from ...words.vocabulary import Vocabulary
from ..result import commit, config_digest, device_name, fields_of, joined, versions
from ..run import check
from ..work_folder import check_places
from .metrics import Counted, Scored, present_and_wrong, score
from .names import Likeness, Names, SentenceModel, TextTower, read_mapping

RESULT = "free_words.json"
LEAST = 0.01  # of a picture's pixels, from which a class counts as present


class FreeWords:
    """One evaluation; made, it has checked all that can be known before a model is built. Raises InputError."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.config = load_config(options.config, options.dataset, options.backbone, options.cfg_options)
        self.total = check(self.config)
        self.classes = [list(queries) for queries in Vocabulary.load(self.config.model.vocabulary).classes]
        self.background: int | None = self.config.model.get("background")
        self.mapping, self.mapped_by = read_mapping(options.mapping, self.classes) if options.mapping else (None, "")
        axes = self.config.axes
        self.folder = Path(options.work_dir or Path("work_dirs", axes.method, axes.backbone, axes.dataset, "auto"))
        check_places(self.config.test_dataloader.dataset.to_dict(), {"--work-dir": str(self.folder)})

    def measure(self) -> dict:
        """The result, written under a name that no report gathers: it stands beside no mIoU."""
        model, dataset = self._model(), build_dataset(self._data())
        finder = Finder(model, AutoWords(**auto_settings(self.options)))
        pictures = list(seen_in(model, finder, dataset, len(self.classes)))
        names = self._names(model)
        found = score(pictures, self.classes, self.background, Likeness(names, self.classes), self.mapping)
        result = self._described(model, finder, dataset, pictures, names, found)
        write_atomically(self.folder / RESULT, json.dumps(result, indent=2) + "\n")
        return result

    def report(self, result: dict) -> str:
        """What is printed."""
        table = PrettyTable(["metric", "percent", "needs"], align="l")
        for name, row in result["metrics"].items():
            table.add_row([name, f"{row['value']:.2f}" if row["value"] is not None else "-", row["needs"]])
        words = result["words"]
        lines = [
            f"{words['found']} words in {result['images']} pictures, {words['wrong']} of them no class there",
            f"{words['named']} found of {words['present']} classes that cover {LEAST:.0%} of a picture",
        ]
        return "\n".join([table.get_string(), *lines, result["signature"], f"written to {self.folder / RESULT}"])

    def _data(self) -> dict:
        data = self.config.test_dataloader.dataset.to_dict()
        return {**data, "indices": self.options.limit} if self.options.limit else data

    def _model(self) -> OpenVocabSegmentor:
        settings = self.config.model.to_dict()
        # What belongs to the hidden vocabulary goes with it.
        settings |= {"vocabulary": [["thing"]], "background": None, "background_threshold": 0.0, "min_area": 0.0}
        return MODELS.build(settings | {"auxiliary": None}).eval().to(get_device())

    def _names(self, model: OpenVocabSegmentor) -> Names:
        if self.options.sentence_model:
            return SentenceModel(self.options.sentence_model)
        told = f"{model.backbone.words}#{model.backbone.digest}"
        return TextTower(model.encoder(model.backbone, {}), told)

    def _described(
        self,
        model: OpenVocabSegmentor,
        finder: Finder,
        dataset: BaseSegDataset,
        pictures: list[Counted],
        names: Names,
        found: Scored,
    ) -> dict:
        by_names, classes = f"names by {names.told}", Vocabulary.load(self.config.model.vocabulary)
        needs = {"overlap": "nothing", "nearest": by_names, "soft": by_names, "recall_soft": by_names}
        needs |= {"hard": "the very names", "recall_hard": "the very names"}
        needs |= dict.fromkeys(("mapped", "recall_mapped"), f"the mapping {self.mapped_by}")
        metric = {f"{name}[{needs[name]}]" if needs[name] != "nothing" else name: None for name in found.means}
        digest = data_digest(dataset, picture_keys(dataset))
        fields = fields_of(self.config, model, len(dataset), self.total, digest)
        fields |= {"vocabulary": f"{finder.told}/each picture", "metric": "+".join(metric).replace("|", "/")}
        fields |= {"scored": f"{classes.name}#{classes.digest}"}
        counts = np.sum([present_and_wrong(seen, self.classes, LEAST) for seen in pictures], axis=0).tolist()
        return {
            "kind": "free words",
            **{axis: self.config.axes[axis] for axis in ("method", "backbone", "dataset")},
            "metrics": {
                name: {"value": None if np.isnan(value) else 100 * value, "needs": needs[name]}
                for name, value in found.means.items()
            },
            "per_class": {
                name: {of[0]: None if np.isnan(v) else 100 * v for of, v in zip(self.classes, values, strict=True)}
                for name, values in found.pooled.items()
            },
            "words": {
                **dict(zip(("present", "named", "wrong"), counts, strict=True)),
                "found": sum(len(seen.words) for seen in pictures),
            },
            "pictures": [list(seen.words) for seen in pictures],
            "images": len(dataset),
            "images_in_dataset": self.total,
            "partial": len(dataset) != self.total,
            "signature": joined(fields),
            "precision": model.precision,
            "device": device_name(),
            "versions": versions(),
            "commit": commit(),
            "config_digest": config_digest(self.config),
            "config": Config(self.config.to_dict()).to_dict(),
        }


@torch.no_grad()
def seen_in(model: OpenVocabSegmentor, finder: Finder, dataset: BaseSegDataset, classes: int) -> Iterator[Counted]:
    """Picture by picture: words, and the counts of what they cover."""
    rule = LabelRule.of(dataset.metainfo)
    for index in Bar(range(len(dataset)), desc="pictures", unit="picture"):
        data = dataset[index]
        if data is None or "gt_sem_seg" not in data["data_samples"]:
            raise InputError(f"the picture {dataset.get_data_info(index)['img_path']} has no labels")
        sample = data["data_samples"]
        label = sample.gt_sem_seg.data.squeeze(0).long()
        ready = model.data_preprocessor({"inputs": [data["inputs"]], "data_samples": [sample]})
        found = finder.find(finder.look(ready["inputs"], ready["data_samples"]))
        model.set_vocabulary(found.classes)
        model.prepare()
        ((labels, _),) = model.segment(ready["inputs"], ready["data_samples"])
        kept = label != rule.ignore
        cells = labels.cpu()[kept] * classes + label[kept]
        counts = cells.bincount(minlength=len(found.words) * classes).view(-1, classes)
        yield Counted(tuple(word.name for word in found.words), counts.double().numpy())


def free_words(options: argparse.Namespace) -> None:
    """Measures, and says what came of it."""
    run = FreeWords(options)
    print(run.report(run.measure()))
