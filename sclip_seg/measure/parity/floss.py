"""FLOSS: its fusion and its ranking of given probabilities, and NACLIP with experts.

stage_floss        `probabilities` (E + 1, Q, H, W), the default's last -> `fused`; `ranking.probabilities*`, a
                   picture each -> `ranking.order`, `.entropy`, `.percentage`, in ranked order
e2e_floss_DATASET  the `experts` of each query; banks `default_text` and every fifth of `expert_text`;
                   `PHOTO.label_without` is of NACLIP alone
"""

from collections.abc import Iterator
from functools import cache, partial
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from ...picture.stages.experts import TemplateRanking, fuse
from .datasets import dataset_named
from .outcome import CLOSE, Part, differing, gap
from .reading import Check, File, reads
from .reference import Reference
from .segmentors import MAPS, Segmented, bank_checks, photo_checks, read_photo, segmentor

SCALE = 100
SURE, STEEP = 1e-6, 1e-3  # of entropies; of probabilities, which the second softmax makes steep
EVERY = 5  # expert's bank is kept


@reads("stage_floss")
def given(reference: Reference, file: File) -> Iterator[Check]:
    """The fusion and the ranking."""
    if "probabilities" in file and "fused" in file:
        yield Check("stage", "floss", ["probabilities", "fused"], partial(fused, file))
    pictures = [key for key in file.keys if key.startswith("ranking.probabilities")]
    of = [f"ranking.{part}" for part in ("order", "entropy", "percentage") if f"ranking.{part}" in file]
    yield Check("stage", "floss ranking", [*pictures, *of], partial(ranking, file, pictures))


def fused(file: File) -> Iterator[Part]:
    """One map of all."""
    *experts, default = torch.from_numpy(file["probabilities"])
    yield "fusion", gap(fuse(experts, default), file["fused"]), 0.0


def ranking(file: File, pictures: list[str]) -> Iterator[Part]:
    """Templates of each class; those that never answer it lead theirs, and are left out of ours."""
    counted = TemplateRanking()
    for key in pictures:
        counted.add(torch.from_numpy(file[key]))
    order = torch.from_numpy(file["ranking.order"]).long()
    answers = counted.count.gather(1, order)
    kept = [
        [t for t, n in zip(*rows, strict=True) if n > 0] for rows in zip(order.tolist(), answers.tolist(), strict=True)
    ]
    yield "classes ranked otherwise", float(sum(a != b for a, b in zip(counted.ranked(), kept, strict=True))), 0.0
    yield "entropy", gap(counted.mean.gather(1, order), file["ranking.entropy"]), SURE
    yield "percentage", gap(100 * answers / counted.pixels, file["ranking.percentage"]), SURE


def naclip(reference: Reference, dataset: str, stages: list[dict]):
    """NACLIP as the official code runs it here: whole scores, no refinement."""
    changes = {"model.refine": [], "model.logit_scale": SCALE, "model.stages": stages}
    return segmentor(reference, "naclip", dataset, changes)


def steep(key: str, compare, seen, group) -> Iterator[Part]:
    """The same differences, with the tolerance of the second softmax."""
    for told, difference, tolerance in compare(seen, group):
        yield told, difference, STEEP if key == "maxprob" else tolerance


@reads("e2e_floss_(.+)")
def end_to_end(reference: Reference, file: File, called: str) -> Iterator[Check]:
    """The segmentor by our config of the dataset, with the experts of the file, and without any."""
    dataset = dataset_named(called)
    stage = dict(type="TemplateExperts", experts=file["experts"].tolist(), top=file["experts"].shape[1])
    model, plain = cache(lambda: naclip(reference, dataset, [stage])), cache(lambda: naclip(reference, dataset, []))
    title = f"floss on {dataset}"
    yield from bank_checks(file, title, model)
    banks = [key for key in ("default_text", "expert_text", "experts") if key in file]
    yield Check("end to end", title, banks, partial(texts, model, file))

    def see(photo: Path) -> tuple[Segmented, Segmented]:
        return by(model(), photo), by(plain(), photo)

    maps = {key: partial(of, 0, partial(steep, key, compare)) for key, compare in MAPS.items()}
    maps["label_without"] = partial(of, 1, without)
    yield from photo_checks(reference, file, title, see, maps, banks)


def by(model, photo: Path) -> Segmented:
    """A photo through a segmentor."""
    ((labels, maps),) = model.segment(*read_photo(model, photo))
    classes = model.labelling.probabilities(maps)
    return Segmented(labels, maps, classes, classes, CLOSE)


def of(index: int, compare, seen, group) -> Iterator[Part]:
    """With experts, or without."""
    yield from compare(lambda: seen()[index], group)


def without(seen, group) -> Iterator[Part]:
    """Labels of NACLIP alone, where sure."""
    yield "wrong labels without", differing(seen().labels, group["label_without"], seen().sure), 0.0


def texts(model, file: File) -> Iterator[Part]:
    """The usual bank, and every fifth of the experts'."""
    text: Tensor = model().text
    if "default_text" in file:
        yield "text bank", gap(text.features, file["default_text"]), CLOSE
    if "expert_text" in file:
        chosen = file["experts"][::EVERY]
        banks = [F.normalize(text.single[:, row.tolist()].mean(1), dim=1) for row in chosen]
        yield "experts' banks", gap(torch.stack(banks), file["expert_text"]), CLOSE
