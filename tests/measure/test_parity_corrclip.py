"""The readers of CorrCLIP. Their files are made here, by the float64 formulas."""

import cv2
import formulas_corrclip as plain
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from formulas_paths import tower_weights
from formulas_scclip import plain_states
from made_parity import make, off, read, reference_of, stored
from stub_regions import rectangles

from sclip_seg.measure.parity.corrclip_segmentors import v2
from sclip_seg.measure.parity.reading import File
from sclip_seg.measure.parity.segmentors import Looked

pytestmark = pytest.mark.filterwarnings("ignore:.*does not say how its weights were trained")


@pytest.fixture
def folder(tmp_path):
    """With a photo."""
    folder = make(tmp_path / "made")
    (folder / "photos").mkdir()
    with reference_of(folder) as reference:
        cv2.imwrite(str(folder / "photos" / "here.png"), reference.recipe.tiny_photo().numpy()[:, :, ::-1])
    return folder


@torch.no_grad()
def window(reference, merging: float | None) -> dict[str, np.ndarray]:
    """The arrays of a case on the input `small`, 4 x 4 patches, with a guide of 8 x 8 cells."""
    backbone = reference.backbone(dict(type="LastBlock", attention="qk"))
    tower, ids = tower_weights(backbone.clip.visual), rectangles(64, 64, seed=3).numpy() + 1
    start = backbone.trace(reference.input("small"), blocks=(-13,)).states[-1][0].double().numpy()
    guide = reference.recipe.tiny_guide("g", 48, 8, 8, 0.3)[0].double().numpy()
    seen = plain.corrclip(plain_states(start, tower, (4, 4)), tower, (4, 4), guide, ids, tuple(range(6, 11)), merging)
    assert seen.margin > 1e-6
    rows = F.normalize(torch.from_numpy(seen.features).flatten(1).T, dim=1)
    arrays = stored("here", rows) | {"here.regions": ids.astype(np.int16), "here.merged": seen.merged.astype(np.int16)}
    arrays |= {"here.attn_rows": seen.attention[::9].astype(np.float32), "here.attn_step": np.int32(9)}
    return arrays | {"cases": np.array(["here|small|g|8x8|0.3"])}


@pytest.mark.parametrize(("name", "merging"), [("visual_corrclip", 0.2), ("visual_corrclip2", None)])
def test_a_window_in_its_regions(name, merging, folder):
    with reference_of(folder) as reference:
        arrays = window(reference, merging)
    np.savez(folder / f"{name}.npz", **arrays)
    found, unknown = read(folder)
    assert (len(found), off(folder), unknown) == (4, [], [])
    moved = arrays["here.merged"].copy()
    moved[0, 0] = 999
    np.savez(folder / f"{name}.npz", **arrays | {"here.merged": moved, "here.strange": moved})
    assert off(folder) == [f"{name.removeprefix('visual_')} here merged regions off"]
    assert read(folder)[1] == [f"{name} here.strange"]


def test_the_vote_and_what_it_votes_on(folder):
    generator = np.random.default_rng(0)
    logits, ids = generator.integers(-9000, 9000, (5, 12, 10)).astype(np.int16), rectangles(12, 10).numpy()
    scores = 40 * logits.astype(float) / 65536
    classes = np.exp(scores) / np.exp(scores).sum(0)
    classes = np.stack([classes[:2].max(0), *classes[2:]])
    before = np.where(classes.max(0) < 0.3, 0, classes.argmax(0))
    after = plain.vote(before, ids, ids.min())
    arrays = dict(logits=logits, query_idx=np.array([0, 0, 1, 2, 3]), scale_thd=np.float32([40, 0.3]), regions=ids)
    arrays |= dict(before=before.astype(np.uint8), after=after.astype(np.uint8))
    arrays = {f"vote.x.{key}": array for key, array in arrays.items()}
    np.savez(folder / "stage_corrclip.npz", **arrays)
    assert (len(read(folder)[0]), off(folder)) == (2, [])
    np.savez(folder / "stage_corrclip.npz", **arrays | {"vote.x.after": arrays["vote.x.before"]})
    assert off(folder) == ["corrclip vote.x wrong labels after"]


@torch.no_grad()
def test_the_second_segmentor(folder):
    path, photo = folder / "e2e_corrclip2_voc20.npz", folder / "photos" / "here.png"
    size = cv2.imread(str(photo)).shape[:2]
    arrays = {"here.regions": rectangles(*size).numpy() + 1}
    np.savez(path, **arrays)
    with reference_of(folder) as reference:
        model = v2(reference, "voc20", File(path))
        tail = model.backbone.tail
        tail.regions.ids = torch.from_numpy(arrays["here.regions"])
        picture = Looked(model, photo).picture
        maps = model.score(picture)
        small = plain.nearest(arrays["here.regions"], tuple(picture.fitted.shape[1:]))
        numbers, place = np.unique(small, return_inverse=True)
        queries = tail.queries(picture, torch.from_numpy(place.reshape(small.shape)), len(numbers))
        parts = [part.double().numpy() for part in (queries, tail.bank.keys, tail.bank.values, model.text.features)]
        arrays |= {
            "text": model.text.features.numpy(),
            "here.region_queries": queries.numpy(),
            "here.support_main": plain.support(*parts, 20).astype(np.float32),
            "here.logits": maps.dense()[:, ::32, ::32].numpy(),
            "here.label": model.label(maps, picture).numpy().astype(np.uint8),
            "here.label_before_vote": model.labelling.labels(maps).numpy().astype(np.uint8),
        }
    np.savez(path, **arrays)
    found, unknown = read(folder)
    assert (len(found), off(folder), unknown) == (6, [], [])
    np.savez(path, **arrays | {"here.support_main": arrays["here.support_main"] + 1e-4})
    assert off(folder) == ["corrclip_v2 on voc20, here: support"]
