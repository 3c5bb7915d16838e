"""FLOSS's fusion and ranking beside loops over pixels, and what they make of any method."""

import json

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scored import maps_of
from stub_guide import StubGuide
from torch import Tensor

from sclip_seg.errors import InputError
from sclip_seg.evaluate.result import without_places
from sclip_seg.picture.segmentor import OpenVocabSegmentor
from sclip_seg.picture.stages.experts import TemplateExperts, TemplateRanking, fuse
from sclip_seg.registry import STAGES
from sclip_seg.words.experts import Experts
from sclip_seg.words.vocabulary import Vocabulary

TEMPLATES = ["a photo of a {}.", "a {}", "the {} there", "many {}", "a drawing of a {}"]
CHOSEN = [[0, 2], [1, 3], [4, 0], [2, 1]]  # of each of four classes
STAGE = dict(type="TemplateExperts", experts=CHOSEN, top=2)
SCALE = 30.0


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def probabilities(*shape: int, seed: int = 0) -> Tensor:
    return (2 * drawn(*shape, seed=seed)).softmax(-3)


def plain_fusion(experts: np.ndarray, default: np.ndarray) -> np.ndarray:
    """Pixel by pixel."""
    out = default.copy()
    for y, x in np.ndindex(default.shape[1:]):
        best = None
        for e, own in enumerate(experts):
            vector = own[:, y, x]
            if vector.argmax() == e and (best is None or vector[e] > experts[best][best, y, x]):
                best = e
        if best is not None:
            out[:, y, x] = experts[best][:, y, x]
    return out


def test_fusion_equals_the_formula():
    experts, default = probabilities(5, 5, 6, 8), probabilities(5, 6, 8, seed=1)
    expected = plain_fusion(experts.double().numpy(), default.double().numpy())
    np.testing.assert_allclose(fuse(experts, default).double().numpy(), expected, rtol=0, atol=0)
    answering = sum((own.argmax(0) == e).int() for e, own in enumerate(experts))
    assert {0, 1, 2} <= {*answering.flatten().tolist()}


def test_the_first_of_equals_wins_and_of_none_the_default():
    one, two = torch.tensor([[[0.6]], [[0.4]]]), torch.tensor([[[0.4]], [[0.6]]])
    assert torch.equal(fuse([one, two], probabilities(2, 1, 1)), one)
    assert torch.equal(fuse([two, one], one), one)


def test_ranking_equals_the_formula():
    pictures = [probabilities(6, 4, 7, 9), probabilities(6, 4, 12, 5, seed=1)]
    pictures[0][2, 1] = pictures[1][2, 1] = 0  # template 2 never answers class 1
    counted = TemplateRanking()
    for picture in pictures:
        counted.add(picture)
    entropy, count = np.zeros((4, 6)), np.zeros((4, 6))
    for picture in pictures:
        for t, p in enumerate(picture.double().numpy()):
            for y, x in np.ndindex(p.shape[1:]):
                vector = p[:, y, x]
                entropy[vector.argmax(), t] += -sum(v * np.log(v + 1e-10) for v in vector)
                count[vector.argmax(), t] += 1
    mean = entropy / np.maximum(count, 1)
    np.testing.assert_allclose(counted.mean.numpy(), mean, rtol=0, atol=1e-6)
    np.testing.assert_array_equal(counted.count.numpy(), count)
    assert counted.pixels == 7 * 9 + 12 * 5
    expected = [[t for t in np.argsort(mean[c], kind="stable") if count[c, t]] for c in range(4)]
    assert counted.ranked() == expected
    assert 2 not in counted.ranked()[1]


@pytest.fixture(scope="module")
def segmentor(build_segmentor):
    """`segmentor(stages, **settings)`: NACLIP's block under several templates, its queries encoded."""

    def build(stages: list, **settings) -> OpenVocabSegmentor:
        tail = dict(type="LastBlock", attention="naclip", residual=False, mlp=False)
        own = dict(backbone=dict(tail=tail), templates=TEMPLATES, logit_scale=SCALE)
        model = build_segmentor(stages=stages, **own | settings)
        model.prepare()
        return model

    return build


def test_the_queries_under_each_template_make_the_usual_bank(segmentor):
    text = segmentor([STAGE]).text
    assert text.single.shape == (7, 5, text.features.shape[1])
    torch.testing.assert_close(F.normalize(text.single.mean(1), dim=1), text.features, rtol=0, atol=1e-6)
    assert segmentor([]).text.single is None


@torch.no_grad()
@pytest.mark.parametrize("size", [(40, 56), (32, 32), (64, 40)], ids=str)
@pytest.mark.parametrize("window", [dict(crop=None), dict(crop=32, stride=16)], ids=["whole", "windows"])
def test_scores_equal_the_formula(window, size, segmentor):
    model = segmentor([STAGE], window=window)
    (picture,) = model.look([drawn(3, *size)], [dict()])
    tiles = model.stages[0](model.backbone.tail.read(picture), picture).tiles
    features = torch.cat([model.backbone(batch) for batch in picture.plan.cut([picture.fitted], 99)]).double()
    features, single = F.normalize(features, dim=1), model.text.single.double()
    owner = model.text.owner.tolist()
    banks = [F.normalize(single[:, CHOSEN[c]].mean(1), dim=1) for c in owner] + [model.text.features.double()]
    for number, own in enumerate(features):
        maps = torch.stack([(SCALE * torch.einsum("dhw,qd->qhw", own, bank)).softmax(0) for bank in banks])
        area = tuple(next(picture.plan.cut([picture.fitted], 99)).shape[2:])
        maps = F.interpolate(maps, area, mode="bilinear", align_corners=False).numpy()
        expected = plain_fusion(maps[:-1], maps[-1])
        differ = np.abs(tiles[number].double().numpy() - expected).max(0) > 1e-4
        assert differ.mean() < 0.01  # where two experts are as sure
    torch.testing.assert_close(tiles.sum(1), torch.ones_like(tiles[:, 0]), rtol=0, atol=1e-4)


def test_experts_of_classes_are_those_of_their_queries(segmentor):
    image = drawn(3, 40, 56)
    by_query = [CHOSEN[c] for c in segmentor([]).text.owner.tolist()]
    (one,), (other,) = (
        maps_of(segmentor([STAGE | dict(experts=experts)]), [image], [(40, 56)]) for experts in (CHOSEN, by_query)
    )
    assert torch.equal(one.dense(), other.dense())


@pytest.mark.parametrize("tail", ["views", "across", "whole"])
def test_any_method_takes_them(tail, segmentor):
    guide = dict(type=StubGuide)
    tails = dict(
        views=dict(type="ITACLIP"), across=dict(type="GLACLIP", guide=guide), whole=dict(type="CLIPer", whole=True)
    )
    (maps,) = maps_of(segmentor([STAGE], backbone=dict(tail=tails[tail])), [drawn(3, 48, 64)], [(48, 64)])
    assert maps.dense().isfinite().all()


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_lower_precision_and_blank_pictures_are_finite(precision, segmentor):
    for image in (drawn(3, 40, 56), torch.zeros(3, 40, 56)):
        (maps,) = maps_of(segmentor([STAGE], precision=precision), [image], [(40, 56)])
        assert maps.dense().isfinite().all()


def written(folder, **changes):
    """A file of experts, its content changed."""
    path = folder / "experts.json"
    words = Vocabulary.load(["a; b", "c", "d; e", "f"])
    Experts(tuple(map(tuple, CHOSEN)), words.digest, tuple(TEMPLATES), "a test").save(path, words)
    content = json.loads(path.read_text()) | changes
    path.write_text(json.dumps(content))
    return path, words


def test_a_file_is_read_back_and_its_digest_is_its_content(tmp_path):
    path, words = written(tmp_path)
    found = Experts.load(str(path))
    assert found.ranked == tuple(map(tuple, CHOSEN))
    found.check(words, TEMPLATES)
    assert found.of_queries(words.owner, 1) == [[0], [0], [1], [4], [4], [2]]
    other, _ = written(tmp_path, ranked={"0": [1], "1": [1], "2": [1], "3": [1]})
    assert Experts.load(str(other)).digest != found.digest
    told = without_places(dict(type="TemplateExperts", experts=str(other)))["experts"]
    assert told == f"experts.json#{Experts.load(str(other)).digest}"


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        (dict(ranked=[[1]]), "'ranked' must have a list of numbers"),
        (dict(ranked={"a": [True]}), "'ranked' must have a list of numbers"),
        (dict(templates="x"), "'templates' must be a list of texts"),
        (dict(other=1), "it has not the keys"),
    ],
    ids=str,
)
def test_what_is_no_file_of_experts(changes, told, tmp_path):
    path, _ = written(tmp_path, **changes)
    with pytest.raises(InputError, match=told):
        Experts.load(str(path))


def test_a_missing_file_and_one_that_is_no_json(tmp_path):
    with pytest.raises(InputError, match="is missing; sclip-seg rank-templates writes one"):
        Experts.load(str(tmp_path / "none.json"))
    (tmp_path / "bad.json").write_text("{")
    with pytest.raises(InputError, match="is no file of experts"):
        Experts.load(str(tmp_path / "bad.json"))


def test_experts_of_other_words_or_templates_are_refused(tmp_path, segmentor, build_segmentor):
    path, _ = written(tmp_path)
    for stage, told in (
        (dict(experts=str(path)), "ranked for other words"),
        (dict(experts=[[0]]), "experts for 1 classes"),
        (dict(experts=[[0], [1], [], [2]]), "the experts of class 2 are"),
        (dict(experts=[[0], [1], [5], [2]]), "numbers of templates, 0 to 4"),
    ):
        with pytest.raises(InputError, match=told):
            build_segmentor(stages=[STAGE | stage], templates=TEMPLATES)
    words = ["a; b", "c", "d; e", "f"]
    with pytest.raises(InputError, match="among other templates"):
        build_segmentor(stages=[STAGE | dict(experts=str(path))], vocabulary=words)
    model = build_segmentor(stages=[STAGE | dict(experts=str(path))], vocabulary=words, templates=TEMPLATES)
    with pytest.raises(InputError, match="ranked for other words"):
        model.set_vocabulary(["g", "h"])
    assert model.vocabulary.names == ("a", "c", "d", "f")


def test_the_stage_is_found_by_name():
    assert TemplateExperts(CHOSEN).needs_templates
    assert STAGES.build(STAGE).top == 2
