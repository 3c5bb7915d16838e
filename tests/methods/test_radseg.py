"""RADSeg: the tail "RADSeg" and the stage "Probabilities" against float64 loops, on the tiny CLIP and a tiny RADIO."""

import formulas_guided as guided
import formulas_radseg as formulas
import numpy as np
import plain_chain
import pytest
import tiny_radio
import torch
import torch.nn.functional as F
from smooth_photos import looked, photo

from sclip_seg.errors import InputError
from sclip_seg.methods import radseg
from sclip_seg.picture.picture import Picture
from sclip_seg.picture.scores import DenseMaps, Labelling
from sclip_seg.picture.segmentor import OpenVocabSegmentor
from sclip_seg.picture.window import rounded_up
from sclip_seg.towers.radio import SHAPES

OWN = dict(
    backbone=dict(tail=dict(type="RADSeg")),
    stages=[dict(type="Probabilities", scale=100)],
    refine=["Presence"],
    logit_scale=None,
)
WINDOW = dict(crop=32, stride=24)
MEAN = np.array([122.771, 116.746, 104.094])[:, None, None]  # OpenAI's, of 8 bits
STD = np.array([68.501, 66.632, 70.323])[:, None, None]
SIZES = [(48, 72), (61, 75), (75, 50), (20, 30), (24, 96)]  # as it is, three brought to multiples, lower than a window


@pytest.fixture(scope="module")
def build(build_segmentor):
    """`build(**settings)`: a segmentor over the tiny tower, its words encoded."""

    def build_with(**settings) -> OpenVocabSegmentor:
        model = build_segmentor(**(OWN | dict(window=WINDOW) | settings))
        model.prepare()
        return model

    return build_with


@pytest.fixture(scope="module")
def radio(tiny, tmp_path_factory):
    """`radio(**settings)`: the same over the tiny RADIO."""
    folder = tmp_path_factory.mktemp("radio")
    tiny_radio.known(tiny, folder)
    path = tiny_radio.saved(folder)

    def build_with(tail: dict | None = None, **settings) -> OpenVocabSegmentor:
        tower = dict(type="DenseCLIP", arch=tiny_radio.NAME, pretrained=path, tail=tail or dict(type="RADSeg"))
        plain = dict(vocabulary=["sky", "grass", "dog", "wall"], templates="plain", short_side=None, precision="fp32")
        model = OpenVocabSegmentor(**(OWN | plain | dict(window=WINDOW) | settings | dict(backbone=tower)))
        model.prepare()
        return model.eval()

    yield build_with
    del SHAPES[tiny_radio.NAME]


def language(model: OpenVocabSegmentor, cells: np.ndarray) -> np.ndarray:
    """The tower's own way from features (n, C) to unit ones in the joint space, which other tests hold."""
    out = model.backbone.tower.projected(torch.from_numpy(cells).float()[None])[0]
    return F.normalize(out, dim=1).double().numpy()


def expected(model: OpenVocabSegmentor, picture: Picture, aggregation: float | None = 10.0) -> np.ndarray:
    """Probabilities (Q, H, W) before classes leave, from the features of windows."""
    size, crop, stride = tuple(picture.fitted.shape[1:]), model.window["crop"], model.window["stride"]
    boxes = plain_chain.mmseg_boxes(size, crop, stride)
    canvas = formulas.joined(picture.gathered.double().numpy(), boxes, size, model.backbone.patch)
    cells = canvas.reshape(len(canvas), -1).T
    if aggregation is not None:
        cells = formulas.aggregation(cells, aggregation) @ cells
    cosine = model.text.features.double().numpy() @ language(model, cells).T
    p = formulas.probabilities(cosine.reshape(-1, *canvas.shape[1:]), 100)
    return guided.bilinear(p, picture.size)


@torch.no_grad()
def check(model: OpenVocabSegmentor, size: tuple[int, int], **settings) -> None:
    raw = photo(*size)
    (picture,) = looked(model, [raw])
    fitted = formulas.rounded(size, model.window["stride"], model.window["crop"])
    assert tuple(picture.fitted.shape[1:]) == fitted
    if model.backbone.arch == "tiny":
        pixels = guided.bilinear((raw.double().numpy()[::-1] - MEAN) / STD, fitted)
        np.testing.assert_allclose(picture.fitted.double().numpy(), pixels, rtol=0, atol=1e-4)
    windows = torch.cat(list(picture.plan.cut([picture.fitted], 99)))
    tokens = model.backbone.tail.tokens(model.backbone.trace(windows))[:, model.backbone.tower.prefix :]
    ours = model.backbone.tower.last_norm(tokens).transpose(1, 2).unflatten(2, picture.gathered.shape[2:])
    torch.testing.assert_close(picture.gathered, ours, rtol=1e-4, atol=1e-4)
    maps, p = model.score(picture), expected(model, picture, **settings)
    np.testing.assert_allclose(maps.dense().double().numpy(), p, rtol=0, atol=2e-4)
    refined = model.refine(maps, picture)
    owner = model.labelling.owner.tolist()
    kept = formulas.pruned(p, owner, 0.5)
    np.testing.assert_allclose(refined.dense().double().numpy(), kept, rtol=0, atol=2e-4)
    classes = formulas.merged(kept, owner)
    best, second = np.sort(classes, axis=0)[::-1][:2]
    labels = model.label(refined, picture).numpy()
    assert (labels == classes.argmax(0))[best - second > 1e-3].all()
    assert (best - second > 1e-3).mean() > 0.3
    np.testing.assert_allclose(model.labelling.probabilities(refined).double().numpy(), classes, rtol=0, atol=2e-4)


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_a_picture_equals_the_formula_on_clip(size, build):
    check(build(), size)


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_a_picture_equals_the_formula_on_radio(size, radio):
    check(radio(), size)


@pytest.mark.parametrize("aggregation", [None, 3.0])
def test_aggregation_is_an_option(aggregation, radio):
    check(radio(dict(type="RADSeg", aggregation=aggregation)), (61, 75), aggregation=aggregation)
    one, other = (
        radio(dict(type="RADSeg", aggregation=g)).score(*looked(radio(), [photo(61, 75)])) for g in (10.0, aggregation)
    )
    assert (one.dense() - other.dense()).abs().max() > 1e-2


@torch.no_grad()
def test_another_attention_goes_with_it(build):
    check(build(backbone=dict(tail=dict(type="RADSeg", attention="csa", residual=False, mlp=False))), (61, 75))


@pytest.mark.parametrize("stride", [8, 16, 24, 32])
def test_the_size_rule(stride):
    for height in range(8, 200, 13):
        for width in (8, 33, 96, 150, 199):
            assert rounded_up((height, width), stride, 32) == formulas.rounded((height, width), stride, 32)


@torch.no_grad()
def test_the_whole_picture_as_one_window_is_not_resized(radio):
    model = radio(window=dict(crop=None))
    (picture,) = looked(model, [photo(48, 72)])
    assert picture.fitted is picture.image
    assert picture.gathered.shape == (1, tiny_radio.WIDTH, 6, 9)
    assert model.score(picture).dense().isfinite().all()


@torch.no_grad()
def test_two_pictures_are_those_of_each(radio):
    model, raw = radio(window=dict(crop=32, stride=24, batch=3)), [photo(61, 75, seed) for seed in (0, 1)]
    together = [model.score(picture).dense() for picture in looked(model, raw)]
    for one, own in zip(together, raw, strict=True):
        (picture,) = looked(model, [own])
        torch.testing.assert_close(one, model.score(picture).dense(), rtol=1e-4, atol=1e-4)
    assert (together[0] - together[1]).abs().max() > 1e-2


@torch.no_grad()
def test_memory_moves_no_score(radio, monkeypatch):
    model = radio()
    (picture,) = looked(model, [photo(61, 75)])
    whole = model.score(picture).dense()
    monkeypatch.setattr(radseg, "CHUNK", 100)
    torch.testing.assert_close(model.score(picture).dense(), whole, rtol=1e-5, atol=1e-6)


@torch.no_grad()
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_blank_pictures_are_finite_in_every_precision(precision, build, radio):
    for model in (build(precision=precision), radio(precision=precision)):
        for raw in (photo(61, 75), torch.zeros(3, 61, 75, dtype=torch.uint8)):
            (picture,) = looked(model, [raw])
            maps = model.refine(model.score(picture), picture)
            assert maps.dense().isfinite().all()
            assert model.label(maps, picture).max() < model.labelling.classes


@pytest.mark.parametrize(("y", "x"), [(0, 0), (30, 41), (71, 95)])
@torch.no_grad()
def test_what_a_point_looks_at_makes_its_score(y, x, radio):
    """Before the stage: the weights over all windows' features, mixed, are the cell's."""
    model = radio(stages=[], refine=[])
    (picture,) = looked(model, [photo(61, 75)])
    weights = model.backbone.tail.attention_across(picture, y, x)
    assert weights.shape == (len(picture.plan), 1, 4, 4)
    assert weights.min() >= 0
    torch.testing.assert_close(weights.sum(), torch.tensor(1.0))
    mixed = torch.einsum("nhw,nchw->c", weights[:, 0], picture.gathered)
    score = model.text.features.double().numpy() @ language(model, mixed[None].double().numpy())[0]
    tiles = model.backbone.tail.read(picture).tiles[0]
    height, width = picture.fitted.shape[1:]
    found = tiles[:, int(y * tiles.shape[1] / height), int(x * tiles.shape[2] / width)]
    np.testing.assert_allclose(found.double().numpy(), score, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("window", "message"),
    [
        (dict(padding="symmetric"), "pads no window"),
        (dict(unit=16), "pads no window"),
        (dict(crop=36), "window.crop=36, window.stride=24: windows are joined patch by patch"),
        (dict(stride=20), "multiples of the patch \\(8\\)"),
    ],
)
def test_windows_that_cannot_be_joined_are_refused(window, message, build):
    with pytest.raises(InputError, match=message):
        build(window=WINDOW | window)


def test_scores_that_are_probabilities():
    """`logit_scale=None`: no softmax, a threshold sees them as they are, and synonyms are merged."""
    p = torch.rand(5, 6, 7, generator=torch.Generator().manual_seed(0)).softmax(0)
    rule = Labelling(torch.tensor([2, 2, 1]), None, 0, 0.24)
    classes = torch.from_numpy(formulas.merged(p.numpy(), [0, 0, 1, 1, 2]))
    torch.testing.assert_close(rule.probabilities(DenseMaps(p)), classes)
    own = torch.where(classes.amax(0) < 0.24, 0, classes.argmax(0))
    assert torch.equal(rule.labels(DenseMaps(p)), own)
    assert (own != classes.argmax(0)).any()
    with pytest.raises(InputError, match="logit_scale=None"):
        _ = rule.scale


@torch.no_grad()
def test_where_every_class_leaves_all_is_class_0(radio):
    model = radio(refine=[dict(type="Presence", threshold=1.1)])
    (picture,) = looked(model, [photo(61, 75)])
    maps = model.refine(model.score(picture), picture)
    assert maps.dense().abs().max() == 0
    assert model.label(maps, picture).max() == 0
