"""CLIPer: readings, affinities, scores, windows beside the whole picture and class maps against the formulas."""

import formulas
import formulas_cliper as plain
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from formulas_paths import tower_weights
from mmseg.structures import SegDataSample
from protocols_cliper import CLIPER, CLIPER_L14
from runs import cell
from torch import Tensor

from sclip_seg.errors import InputError
from sclip_seg.methods.cliper import CLIPerMaps, affinities
from sclip_seg.picture.picture import Picture, Scores, Whole
from sclip_seg.picture.refine.presence import REMOVED
from sclip_seg.picture.scores import Labelling
from sclip_seg.picture.segmentor import OpenVocabSegmentor
from sclip_seg.towers.encoder import DenseCLIP
from sclip_seg.words.text import TextBank
from sclip_seg.words.vocabulary import Vocabulary

SIZES = [(32, 32), (24, 40), (48, 16)]
OWNER = torch.tensor([0, 0, 1, 2, 2, 2, 3])


def bank(background: int | None = 0, beside: int = 0) -> TextBank:
    """Seven random unit queries of four classes, and so many texts beside them."""
    drawn = F.normalize(torch.randn(7 + beside, 24, generator=torch.Generator().manual_seed(5)), dim=1)
    return TextBank(drawn[:7], OWNER, 4, background, drawn[7:] if beside else None)


def things(text: TextBank) -> list[int]:
    return [q for q, owner in enumerate(text.owner.tolist()) if owner != text.background]


def start_and_weights(dense: DenseCLIP, image: Tensor):
    trace = dense.trace(image[None])
    return trace.before(0)[0].double().numpy(), tower_weights(dense.clip.visual), trace.grid


def expected(dense: DenseCLIP, image: Tensor, text: TextBank, attention=None) -> np.ndarray:
    """Scores (Q, P) of a picture, by the settings of its tail."""
    tail = dense.tail
    made = start_and_weights(dense, image)
    features, weights = plain.readings(*made) if attention is None else plain.attended(*made, attention)
    beside = None if text.beside is None else text.beside.double().numpy()
    rows = plain.rows_of(text.features.double().numpy(), things(text), beside)
    p = plain.probabilities(plain.logits(features, rows, tail.scale))[:, : len(text.features)]
    return plain.scores(p, plain.head_mean(weights[-1]), tail.threshold, tail.selected, tail.fuse)


def tail(**options) -> dict:
    return dict(type="CLIPer", scale=20.0) | options


@pytest.mark.parametrize("size", SIZES)
def test_readings_equal_the_formula(size, build_dense, pictures):
    dense, image = build_dense(tail()), pictures(2, *size)
    found, mixing = dense.tail.readings(dense.trace(image))
    for window in range(2):
        features, weights = plain.readings(*start_and_weights(dense, image[window]))
        assert len(found) == len(features) == 4
        for ours, theirs in zip(found, features, strict=True):
            np.testing.assert_allclose(ours[window].flatten(1).T.double().numpy(), theirs, rtol=0, atol=1e-4)
        np.testing.assert_allclose(mixing[window].double().numpy(), plain.head_mean(weights[-1]), rtol=0, atol=1e-6)


def test_affinities_equal_the_formula_and_every_step_moves_them(build_dense, pictures):
    dense, image = build_dense(tail()), pictures(1, 24, 40)
    _, weights = plain.readings(*start_and_weights(dense, image[0]))
    found = list(affinities(dense.trace(image)))
    for ours, theirs in zip(found, weights, strict=True):
        np.testing.assert_allclose(ours[0].double().numpy(), theirs, rtol=0, atol=1e-6)
        np.testing.assert_allclose(ours.sum(-1).numpy(), 1, rtol=1e-5)
    assert all((one - other).abs().max() > 1e-5 for one, other in zip(found[1:], found, strict=False))
    shown = dense.attention_maps(image, None)
    torch.testing.assert_close(shown.weights, found[-1])


@pytest.mark.parametrize(
    "options",
    [
        dict(),
        dict(scale=100.0, threshold=0.35),
        dict(threshold=0.0),
        dict(selected=-2),
        dict(selected=-4, threshold=0.9),
        dict(fuse=False),
        dict(fuse=False, selected=-2),
    ],
    ids=str,
)
@pytest.mark.parametrize("size", SIZES[:2])
def test_scores_equal_the_formula(size, options, build_dense, pictures):
    dense, image = build_dense(tail(**options)), pictures(2, *size)
    for text in (bank(), bank(None, beside=3), bank(2)):
        found = dense.score(image, text)
        for window in range(2):
            theirs = expected(dense, image[window], text)
            np.testing.assert_allclose(found[window].flatten(1).double().numpy(), theirs, rtol=0, atol=1e-4)


def test_the_mean_the_words_beside_and_the_background_move_scores(build_dense, pictures):
    dense, image = build_dense(tail()), pictures(1, 24, 40)
    found = [dense.score(image, text) for text in (bank(), bank(None), bank(2), bank(None, beside=2))]
    for index, one in enumerate(found):
        assert all((one - other).abs().max() > 1e-4 for other in found[:index])


@pytest.mark.parametrize("name", ["qq", "kk", "vv", "qk", "identity"])
def test_another_attention_in_its_place(name, build_dense, pictures):
    dense, image = build_dense(tail(attention=name)), pictures(1, 24, 40)
    theirs = expected(dense, image[0], bank(), formulas.ATTENTION_FORMULAS[name])
    np.testing.assert_allclose(dense.score(image, bank())[0].flatten(1).double().numpy(), theirs, rtol=0, atol=1e-4)


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
@pytest.mark.parametrize("whole", [False, True])
def test_every_precision_is_finite_and_near(precision, whole, build_segmentor, pictures):
    window = dict(crop=32, stride=16) if whole else dict(crop=None)
    build = dict(backbone=dict(tail=tail(whole=whole)), window=window, background=0)
    exact, found = (
        whole_scores(build_segmentor(**build, precision=own), pictures(1, 48, 64)[0]) for own in ("fp32", precision)
    )
    assert found.dtype == torch.float32
    assert F.cosine_similarity(found.flatten(), exact.flatten(), dim=0) > 0.99
    model = build_segmentor(**build, precision=precision)
    for blank in (torch.zeros(3, 48, 60), 3 * torch.ones(3, 8, 8), torch.zeros(3, 8, 40)):
        assert whole_scores(model, blank).isfinite().all()


@torch.no_grad()
def whole_scores(model: OpenVocabSegmentor, image: Tensor) -> Tensor:
    """(Q, h, w) on the patches of the picture."""
    return read(model, image)[0].tiles[0]


@torch.no_grad()
def read(model: OpenVocabSegmentor, *images: Tensor) -> list[Scores]:
    model.prepare()
    samples = [SegDataSample() for _ in images]
    return [model.backbone.tail.read(picture) for picture in model.look(images, samples)]


@pytest.mark.parametrize("size", [(32, 32), (48, 64), (40, 72), (61, 75), (24, 16)])
def test_windows_beside_the_whole_picture_equal_the_formula(size, build_segmentor, pictures):
    """Of several sizes, one the patch does not divide: it goes to the nearest that it does."""
    settings = dict(window=dict(crop=32, stride=16), background=2)
    model = build_segmentor(backbone=dict(tail=tail(whole=True)), **settings)
    image = pictures(1, *size)[0]
    (found,) = read(model, image)
    fitted = model.fitted(image)
    assert tuple(fitted.shape[1:]) == tuple(int(side / 8 + 0.5) * 8 for side in size)
    dense, text = model.backbone, model.text
    assert text.background == 2
    rows = plain.rows_of(text.features.double().numpy(), things(text))

    def seen(window):
        features, weights = plain.readings(*start_and_weights(dense, window))
        return plain.logits(features, rows, 20.0), plain.head_mean(weights[-1])

    plan = model.windows_over(tuple(fitted.shape[1:]))
    made = [seen(fitted[:, top:bottom, left:right]) for top, left, bottom, right in plan.boxes()]
    boxes = [tuple(side // 8 for side in box) for box in plan.boxes()]
    z, whole_affinity = seen(fitted)
    grid = tuple(side // 8 for side in fitted.shape[1:])
    mixed = plain.over_windows([one for one, _ in made], [other for _, other in made], boxes, grid)
    p = (plain.probabilities(mixed) + plain.probabilities(z))[:, : len(text.features)] / 2
    theirs = plain.scores(p, whole_affinity, 0.1)
    np.testing.assert_allclose(found.tiles[0].flatten(1).double().numpy(), theirs, rtol=0, atol=1e-4)
    assert found.layout == Whole(tuple(fitted.shape[1:]))


@pytest.mark.parametrize("whole", [False, True])
def test_company_moves_nothing(whole, build_segmentor, pictures):
    settings = dict(window=dict(crop=32, stride=16, batch=4) if whole else dict(crop=None, batch=4), background=0)
    model = build_segmentor(backbone=dict(tail=tail(whole=whole)), **settings)
    images = [pictures(1, 48, 48)[0], pictures(1, 48, 48, seed=1)[0], pictures(1, 32, 72, seed=2)[0]]
    for one, image in zip(read(model, *images), images, strict=True):
        torch.testing.assert_close(one.tiles, read(model, image)[0].tiles, rtol=0, atol=2e-5)


def test_windows_that_cannot_be_joined_are_refused(build_segmentor):
    for window in (dict(crop=36, stride=16), dict(crop=32, stride=12), dict(crop=32, stride=16, padding="symmetric")):
        with pytest.raises(InputError, match=r"joined patch by patch.*multiples of the patch \(8\)"):
            build_segmentor(backbone=dict(tail=tail(whole=True)), window=window)
        build_segmentor(backbone=dict(tail=tail()), window=window)


def test_a_reading_that_the_tower_does_not_have_is_refused(build_dense, pictures):
    with pytest.raises(InputError, match="reads input -5 of two blocks or more; the tower has 4"):
        build_dense(tail(selected=-5)).score(pictures(1, 32, 32), bank())
    with pytest.raises(InputError, match="selected"):
        build_dense(tail(selected=0))


def test_texts_beside_are_encoded_and_are_no_classes(build_segmentor, pictures):
    alone, beside = (
        build_segmentor(backbone=dict(tail=tail(beside=words)), window=dict(crop=None))
        for words in ([], ["background"])
    )
    image = pictures(1, 32, 48)[0]
    before, found = whole_scores(alone, image), whole_scores(beside, image)
    assert alone.text.beside is None
    assert beside.text.beside.shape == (1, 24)
    assert before.shape == found.shape == (7, 4, 6)
    assert (before - found).abs().max() > 1e-4
    word = build_segmentor(vocabulary=["background"])
    word.prepare()
    torch.testing.assert_close(beside.text.beside, word.text.features)


MAPS = [
    (0.0, 0.3, False),
    (0.8, 0.3, False),
    (0.8, 0.6, True),
    (0.5, 0.0001, True),
    (5.0, 0.3, False),  # no class is there
]


def made_scores(seed: int = 3) -> Tensor:
    """(1, 7, 4, 5), from 0 to 2, some queries nowhere above 0.7."""
    drawn = torch.rand(1, 7, 4, 5, generator=torch.Generator().manual_seed(seed))
    return drawn * torch.tensor([2.0, 1.0, 0.75, 0.5, 0.6, 2.0, 1.2]).view(1, 7, 1, 1)


def picture_of(background: int | None, owner: Tensor = OWNER) -> Picture:
    rule = Labelling(owner.bincount(), 1.0, background=background)
    return Picture(*[None] * 8, rule=rule)


@pytest.mark.parametrize("background", [0, 2, 3])
@pytest.mark.parametrize("settings", MAPS, ids=str)
def test_class_maps_equal_the_formula_where_a_class_has_one_query(settings, background):
    owner, size = torch.arange(7), (21, 33)
    scores, own = made_scores(), [q for q in range(7) if q != background]
    picture = picture_of(background, owner)
    maps = CLIPerMaps(*settings).revise(Scores(scores, Whole((32, 40))).maps(size), picture)
    enlarged = F.interpolate(scores.double(), size, mode="bilinear", align_corners=False)[0].numpy()
    theirs = plain.class_maps(enlarged, scores[0].double().amax((1, 2)).numpy(), own, *settings)
    np.testing.assert_allclose(maps.scores.clamp(min=0).double().numpy(), theirs, rtol=0, atol=1e-5)
    labels = picture.labelling.labels(maps)
    largest = theirs.max(0)
    assert (labels.numpy() == np.where(largest > 0, theirs.argmax(0), background)).mean() > 0.999
    if settings[0] == 5.0:
        assert (labels == background).all()


def test_an_absent_class_never_wins_and_none_below_the_threshold_without_a_background():
    """Class 1 has one query of at most 0.75, class 2 three of which one is large."""
    for background in (0, None):
        picture = picture_of(background)
        maps = CLIPerMaps(0.76, 0.3).revise(Scores(made_scores(), Whole((32, 40))).maps((21, 33)), picture)
        assert (maps.scores[2] == REMOVED).all()
        assert (maps.scores[3:6] > 0).any()
        labels = picture.labelling.labels(maps)
        assert (labels != 1).all()
        assert set(labels.unique().tolist()) >= {2, 3}
    gone = CLIPerMaps(5.0, 0.3).revise(Scores(made_scores(), Whole((32, 40))).maps((21, 33)), picture_of(None))
    assert (picture_of(None).labelling.labels(gone) == 0).all()


def test_a_threshold_of_zero_sets_a_background_against_the_classes():
    picture, scores = picture_of(3, torch.arange(4)), 0.5 * made_scores()[:, :4]
    maps = CLIPerMaps(0.0, 0.0).revise(Scores(scores, Whole((32, 40))).maps((21, 33)), picture)
    enlarged = F.interpolate(scores.double(), (21, 33), mode="bilinear", align_corners=False)[0, :3]
    enlarged *= (scores[0, :3].amax((1, 2)) / (enlarged.amax((1, 2)) + 1e-5))[:, None, None]
    torch.testing.assert_close(maps.scores[3].double(), (1 - enlarged.amax(0)) ** 2, rtol=0, atol=1e-5)
    assert set(picture.labelling.labels(maps).unique().tolist()) >= {0, 3}


@pytest.mark.parametrize("dataset", CLIPER)
def test_what_the_config_tunes(dataset):
    model = cell("cliper", dataset).model
    (step,) = model.refine
    assert (step.score_threshold, step.threshold, model.templates) == CLIPER[dataset]
    large = cell("cliper", dataset, "openai_vit_l14").model
    own, (step,) = large.backbone.tail, large.refine
    found = (own.scale, own.threshold, own.selected, step.score_threshold, step.threshold, large.templates)
    assert found == CLIPER_L14[dataset]
    assert step.normalise == (dataset == "voc21")
    assert not own.whole
    assert large.window.crop == (448 if dataset == "cityscapes" else None)
    words = model.backbone.tail.beside
    assert words == {"voc20": list(Vocabulary.load("voc21_cliper").classes[0])}.get(dataset, words[:1])
