"""A picture on its way: what is asked of guides and how often, what is held of windows, and scores on other grids."""

import weakref

import plain_chain
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from mmseg.structures import SegDataSample
from stub_guide import StubGuide
from torch import Tensor

from sclip_seg.errors import InputError
from sclip_seg.picture.picture import Picture, Scores, Whole, regrouped
from sclip_seg.picture.segmentor import OpenVocabSegmentor
from sclip_seg.picture.stage import Stage
from sclip_seg.picture.window import windows
from sclip_seg.registry import GUIDES, STAGES, TAILS, one_of_each
from sclip_seg.towers.tail import Gathered, LastBlock
from sclip_seg.words.text import TextBank

GUIDE = dict(type=StubGuide, unit=8)


class Asking(Stage):
    """Asks its guide for all that it can say, twice, and changes nothing."""

    def __init__(self, guide: dict) -> None:
        super().__init__()
        self.guide, self.answers = GUIDES.build(guide), []

    def forward(self, scores: Scores, picture: Picture) -> Scores:
        for _ in range(2):
            self.answers.append((picture.features(self.guide), picture.values(self.guide)))
        return scores


class Beyond(LastBlock):
    """Keeps more of windows than their scores, and watches how much of it lives when a picture is read."""

    def __init__(self) -> None:
        super().__init__("csa")
        self.kept, self.alive = [], []

    def gather(self, trace, text: TextBank) -> Gathered:
        kept = {"scores": self.score(trace, text), "image": trace.image.clone()}
        self.kept.append(weakref.ref(kept["image"]))
        return kept

    def read(self, picture: Picture) -> Scores:
        self.alive.append(sum(tensor() is not None for tensor in self.kept))
        return picture.scored(picture.gathered["scores"])


@pytest.fixture(autouse=True)
def shelves():
    """The two stand on their shelves while a test lasts."""
    for shelf, part in ((STAGES, Asking), (TAILS, Beyond)):
        shelf.register_module(module=part)
    yield
    for shelf, part in ((STAGES, Asking), (TAILS, Beyond)):
        del shelf.module_dict[part.__name__]


def sample(size: tuple[int, int] | None = None) -> SegDataSample:
    return SegDataSample(metainfo=dict(ori_shape=size) if size else {})


@torch.no_grad()
def look(model: OpenVocabSegmentor, *images: Tensor) -> list[Picture]:
    model.prepare()
    return list(model.look(images, [sample() for _ in images]))


@torch.no_grad()
def run(model: OpenVocabSegmentor, *images: Tensor) -> list[Tensor]:
    """Labels of each picture."""
    model.prepare()
    return [labels for labels, _ in model.segment(images, [sample() for _ in images])]


def test_a_guide_is_asked_once_a_picture(build_segmentor, pictures):
    model = build_segmentor(stages=[dict(type="Asking", guide=GUIDE)] * 2, window=dict(crop=32, stride=16, batch=4))
    run(model, pictures(1, 48, 64)[0], pictures(1, 48, 64, seed=1)[0])
    one, other = model.stages
    assert one.guide is other.guide
    # Six windows in batches of four, for the features and for the values, of two pictures: the trunk's batches, which
    # pictures share, are no matter of the guide's.
    assert len(one.guide.seen) == 2 * 2 * 2
    found = [[id(tensor) for tensor in answers] for answers in one.answers + other.answers]
    assert len({tuple(answers) for answers in found}) == 2
    (first, _), *_ = one.answers
    assert not torch.equal(first, one.answers[2][0])


def test_a_tail_its_stages_and_steps_share_a_guide_of_one_config(build_segmentor, pictures):
    tail = dict(type="Trident", guide=dict(type=StubGuide), affinity=GUIDE)
    stages = [dict(type="Asking", guide=GUIDE), dict(type="Asking", guide=dict(GUIDE, seed=1))]
    models = [build_segmentor(backbone=dict(tail=tail), stages=stages, window=dict(crop=32, stride=16)) for _ in "ab"]
    first, second = models
    assert first.backbone.tail.affinity is first.stages[0].guide
    assert (
        len({id(part) for part in (first.backbone.tail.affinity, first.stages[1].guide, first.backbone.tail.guide)})
        == 3
    )
    guides = [{id(module) for module in model.modules() if isinstance(module, StubGuide)} for model in models]
    assert [len(found) for found in guides] == [3, 3]
    assert not guides[0] & guides[1]
    assert second.backbone.tail.affinity is second.stages[0].guide


def test_guides_are_shared_within_a_model_and_within_a_group_of_them():
    assert GUIDES.build(GUIDE) is not GUIDES.build(GUIDE)
    with one_of_each():
        one = GUIDES.build(GUIDE)
        assert GUIDES.build(dict(reversed(GUIDE.items()))) is one  # keys in any order
        assert GUIDES.build(GUIDE | dict(lean=0.1)) is not one
        with one_of_each():
            assert GUIDES.build(GUIDE) is one
        assert GUIDES.build(GUIDE) is one
    assert GUIDES.build(GUIDE) is not one


def test_no_model_is_left_behind_by_one_that_is_refused(build_segmentor):
    with pytest.raises(InputError):
        build_segmentor(stages=[dict(type="Asking", guide=GUIDE), dict(type="LPOSS", guide=GUIDE, steps=0)])
    assert GUIDES.build(GUIDE) is not GUIDES.build(GUIDE)


@pytest.mark.parametrize("batch", [1, 4, 6, 50])
def test_answers_in_batches_are_those_of_all_windows_at_once(batch, build_segmentor, pictures):
    window = dict(crop=40, stride=24, padding="symmetric", unit=16, batch=batch)
    model, guide = build_segmentor(window=window), StubGuide(16)
    (picture,) = look(model, pictures(1, 61, 75)[0])
    (all_at_once,) = picture.plan.cut([picture.fitted], 100)
    rgb = picture.trunk.rgb(all_at_once)
    torch.testing.assert_close(picture.features(guide), guide(rgb), rtol=0, atol=1e-6)
    torch.testing.assert_close(picture.values(guide), guide.values(rgb), rtol=0, atol=1e-6)
    assert picture.features(guide) is picture.features(guide)
    assert {len(part) for part in picture.windows()} <= {min(batch, 6), 6 % batch}


def test_once_keeps_an_answer_of_none(build_segmentor, pictures):
    (picture,), calls = look(build_segmentor(), pictures(1, 32, 32)[0]), []
    assert [picture.once("x", lambda: calls.append(1)) for _ in range(3)] == [None] * 3
    assert calls == [1]


@given(
    st.lists(st.integers(1, 5), min_size=1, max_size=5),
    st.integers(1, 4),
    st.booleans(),
    st.integers(0, 10**6),
)
def test_windows_come_back_picture_by_picture(batches, pictures, named, seed):
    """However many a batch holds, each picture gets its own, in order; what is left over is of no picture."""
    count = sum(batches) // pictures
    if not count:
        return
    kept = torch.randn(sum(batches), 2, 3, generator=torch.Generator().manual_seed(seed))
    parts = kept.split(batches)
    given_parts = ({"a": part, "b": part[:, 0] + 1} if named else part for part in parts)
    for number, own in enumerate(regrouped(given_parts, count)):
        expected = kept[number * count : (number + 1) * count]
        assert type(own) is (dict if named else Tensor)
        assert torch.equal(own["a"] if named else own, expected)
        if named:
            assert own.keys() == {"a", "b"}
            assert torch.equal(own["b"], expected[:, 0] + 1)
    assert number + 1 == sum(batches) // count


def test_windows_are_handed_on_as_soon_as_a_picture_is_whole():
    taken = []

    def batches():
        for index in range(4):
            taken.append(index)
            yield torch.full((3, 1), index)

    pictures = regrouped(batches(), 4)
    assert next(pictures).flatten().tolist() == [0, 0, 0, 1]
    assert taken == [0, 1]
    assert next(pictures).flatten().tolist() == [1, 1, 2, 2]
    assert taken == [0, 1, 2]


def test_what_is_held_does_not_grow_with_the_number_of_pictures(build_segmentor, pictures):
    """The parts of one picture's windows, and of the batch that is being shared: never those of all."""
    model = build_segmentor(backbone=dict(tail=dict(type="Beyond")), window=dict(crop=32, stride=16, batch=4))
    held = []
    for count in (2, 12):
        model.backbone.tail.alive.clear()
        model.backbone.tail.kept.clear()
        model.prepare()
        images = list(pictures(count, 48, 64))
        with torch.no_grad():
            for _ in model.segment(images, [sample() for _ in images]):
                pass
        assert len(model.backbone.tail.alive) == count
        held.append(max(model.backbone.tail.alive))
    assert held[0] == held[1] <= 2


@pytest.mark.parametrize("stages", [[], [dict(type="Asking", guide=GUIDE)]], ids=["none", "stage"])
def test_pictures_of_one_size_share_the_trunk_s_batches(stages, build_segmentor, pictures, monkeypatch):
    """As ever: six windows a picture, in batches of four across pictures of a size, and none across others."""
    model, seen = build_segmentor(stages=stages, window=dict(crop=32, stride=16, batch=4)), []
    trace = model.backbone.trace
    monkeypatch.setattr(
        model.backbone, "trace", lambda image, *more: (seen.append(tuple(image.shape)), trace(image))[1]
    )
    run(model, *pictures(3, 48, 64), pictures(1, 32, 64)[0], pictures(1, 48, 64)[0])
    sizes = [4, 4, 4, 4, 2, 3, 4, 2]
    assert seen == [(count, 3, 32, 32) for count in sizes]


def random_tiles(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("size", [(61, 75), (48, 90), (7, 5)], ids=str)
def test_maps_and_the_same_elsewhere(size):
    """Of windows by the published chain, of one grid bilinearly; `at` gives them at any other size."""
    plan = windows((61, 75), 40, 24, 8, "symmetric", 16)
    tiles, whole = random_tiles(len(plan), 4, 6, 5), random_tiles(1, 4, 6, 5)
    chain = (tiles, (61, 75), 40, 24, 16, "symmetric")
    for scores, expected in (
        (Scores(tiles, plan), lambda to: plain_chain.stitched(*chain, to)),
        (Scores(whole, Whole((61, 75))), lambda to: plain_chain.resize(whole[0], to)),
    ):
        maps = scores.maps(size)
        assert maps.shape == (4, *size)
        torch.testing.assert_close(maps.dense(), expected(size), rtol=0, atol=1e-5)
        torch.testing.assert_close(maps.at((30, 31)).dense(), expected((30, 31)), rtol=0, atol=1e-5)
        assert maps.at((30, 31)).at(size).shape == (4, *size)


def test_boxes_of_a_whole_picture():
    assert Whole((61, 75)).boxes() == [(0, 0, 61, 75)]


@pytest.mark.parametrize("grid", [(4, 4), (8, 3)], ids=str)
def test_scores_on_the_grid_of_a_guide(grid):
    """Over the same windows, over others, and over the whole picture: resampled bilinearly, by way of the maps."""
    plan, other = windows((56, 80), 32, 24, 8), windows((56, 80), None, None, 8)
    tiles, whole = random_tiles(len(plan), 3, 4, 4), random_tiles(1, 3, 7, 10)
    same = Scores(tiles, plan).on(plan, grid)
    assert (same is tiles) == (grid == (4, 4))
    torch.testing.assert_close(same, F.interpolate(tiles, grid, mode="bilinear"))
    boxes = plain_chain.mmseg_boxes((56, 80), 32, 24)
    for scores in (Scores(whole, Whole((56, 80))), Scores(whole, other)):
        maps = plain_chain.resize(whole[0], (56, 80))
        cut = torch.stack([maps[:, top:bottom, left:right] for top, left, bottom, right in boxes])
        expected = F.interpolate(cut, grid, mode="bilinear", align_corners=False)
        torch.testing.assert_close(scores.on(plan, grid), expected, rtol=0, atol=1e-5)


def test_a_missing_original_is_refused_in_words(build_segmentor, pictures):
    tail = dict(type="Trident", guide=GUIDE, affinity=GUIDE)
    model = build_segmentor(backbone=dict(tail=tail), window=dict(crop=32, stride=16))
    with pytest.raises(InputError, match="looked at in its full size; give the data as the pipeline does"):
        run(model, pictures(1, 32, 32)[0])


def test_the_original_is_looked_at_in_multiples_of_the_patch(build_segmentor, pictures):
    model, original = build_segmentor(), torch.arange(3 * 13 * 20, dtype=torch.uint8).view(3, 13, 20)
    model.prepare()
    one = sample()
    one.original = original
    (picture,) = model.look([pictures(1, 32, 32)[0]], [one])
    assert "original" not in one  # taken out
    assert picture.view().shape == (1, 3, 16, 24)
    assert picture.view() is picture.view()
    one.original = original[:, :8, :16]
    (picture,) = model.look([pictures(1, 32, 32)[0]], [one])
    torch.testing.assert_close(picture.view()[0], original[:, :8, :16].flip(0) / 255)
