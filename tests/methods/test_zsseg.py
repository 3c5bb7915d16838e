"""zsseg's second stage and SCAN's beside the float64 formulas, behind a method that knows nothing of regions."""

from dataclasses import replace
from types import SimpleNamespace

import formulas_zsseg as plain
import numpy as np
import pytest
import torch
from formulas import softmax
from mmseg.structures import SegDataSample
from safetensors.torch import load_file, save_file
from stub_proposals import StubProposals
from stub_regions import StubRegions, rectangles
from torch import Tensor

from sclip_seg.errors import InputError
from sclip_seg.evaluate.result import guides, parts
from sclip_seg.regions.integration import SemanticIntegration
from sclip_seg.regions.regions import VOID

SIZE = (40, 48)
SCALE = 40.0


def stage(kind: str = "ZSSeg", provider: type = StubRegions, given: dict | None = None, **settings: object) -> dict:
    return dict(type=kind, regions=dict(type=provider, **(given or {})), **settings)


def original(seed: int = 0, size: tuple[int, int] = SIZE) -> Tensor:
    """uint8 BGR."""
    return torch.randint(0, 256, (3, *size), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)


class Seen:
    """A picture on its way through a model."""

    def __init__(self, model, seed: int = 0, size: tuple[int, int] = SIZE) -> None:
        self.model, self.pixels = model, original(seed, size)
        model.prepare()
        sample = SegDataSample(metainfo=dict(ori_shape=size))
        sample.set_data(dict(original=self.pixels))
        with torch.no_grad():
            (self.picture,) = model.look([model.data_preprocessor.prepared(self.pixels)], [sample])
            self.before = model.backbone.tail.read(self.picture).maps(size).dense()
            self.after = model.score(self.picture).dense()

    @property
    def image(self) -> np.ndarray:
        """Normalised, float64."""
        mean, std = (
            np.array(values).reshape(3, 1, 1) for values in (self.model.backbone.mean, self.model.backbone.std)
        )
        return (self.pixels.flip(0).double().numpy() / 255 - mean) / std

    def feature(self, mask: np.ndarray, ratio: float = 0.0, blocks: tuple[int, ...] = ()) -> np.ndarray:
        """By the formulas."""
        return plain.feature(self.image, mask, self.model.backbone.clip.visual, ratio, blocks)

    @property
    def text(self) -> np.ndarray:
        return self.picture.text.features.double().numpy()


def close(found: Tensor, expected: np.ndarray, tolerance: float = 2e-5) -> None:
    np.testing.assert_allclose(found.double().numpy(), expected, rtol=0, atol=tolerance)


@pytest.mark.parametrize(
    ("kind", "ratio", "settings"),
    [("ZSSeg", 0.0, {}), ("SCAN", 0.5, dict(ratio=0.5, blocks=(1, 3), tower=None)), ("SCAN", 0.0, dict(ratio=0.0))],
)
def test_a_map_s_regions_are_named_by_their_crops(kind, ratio, settings, build_segmentor):
    """And where none lies the method's own scores stand."""
    seen = Seen(build_segmentor(stages=[stage(kind, **settings)]))
    ids, expected = rectangles(*SIZE).numpy(), seen.before.double().numpy().copy()
    assert VOID in ids
    for number in set(np.unique(ids)) - {VOID}:
        found = seen.text @ seen.feature(ids == number, ratio, (0, 2) if ratio else ())
        expected[:, ids == number] = found[:, None]
    close(seen.after, expected)


def test_the_method_s_scores_have_a_part_within_regions(build_segmentor):
    whole, half = (Seen(build_segmentor(stages=[stage(dense=dense)])) for dense in (0.0, 0.5))
    assert torch.allclose(half.after, (whole.after + half.before) / 2, atol=1e-6)
    assert not torch.equal(whole.after, half.after)


def soft_case(model, threshold: float):
    """Masks (R, H, W), who is valid, and p (R, Q), 1 where nobody is."""
    seen = Seen(model)
    regions = seen.picture.proposals(model.stages[0].regions)
    masks = regions.masks().double().numpy()
    valid = (masks > threshold).any((1, 2))
    p = np.ones((len(masks), len(seen.text)))
    for r in np.flatnonzero(valid):
        p[r] = softmax(SCALE * seen.text @ seen.feature(masks[r] > threshold))
    return seen, regions, masks, valid, p


def compare(seen: Seen, total: np.ndarray, somewhere: np.ndarray) -> None:
    """What is within regions is a probability's logarithm, up to what a softmax leaves out."""
    assert somewhere.any()
    assert not somewhere.all()
    expected = total / total.sum(0)
    found = (SCALE * seen.after.double()).softmax(0).numpy()
    np.testing.assert_allclose(found[:, somewhere], expected[:, somewhere], rtol=0, atol=1e-4)
    assert torch.equal(seen.after[:, ~torch.from_numpy(somewhere)], seen.before[:, ~torch.from_numpy(somewhere)])


@pytest.mark.parametrize("threshold", [0.5, 0.3])
def test_soft_masks_add_up(threshold, build_segmentor):
    model = build_segmentor(stages=[stage(provider=StubProposals, threshold=threshold)])
    seen, regions, masks, valid, p = soft_case(model, threshold)
    assert not valid.all()
    c = np.where(valid[:, None], regions.objectness.double().numpy()[:, None] * p, 0)
    compare(seen, plain.mixture(c, masks), (masks[valid] > threshold).any(0))


@pytest.fixture
def head(tmp_path) -> str:
    path = tmp_path / "seen.safetensors"
    save_file({"void": torch.randn(24, generator=torch.Generator().manual_seed(5))}, path)
    return str(path)


@pytest.mark.parametrize("kind", ["ZSSeg", "SCAN"])
def test_a_trained_head_has_its_part(kind, head, build_segmentor):
    settings = dict(ratio=0.0, void=True) if kind == "SCAN" else dict(trained=["grass"])
    options = dict(head=head, share=0.7, **settings)
    model = build_segmentor(stages=[stage(kind, StubProposals, **options)])
    seen, regions, masks, valid, p = soft_case(model, 0.5)
    void = model.stages[0].head.void.double().numpy()
    q = plain.head(regions.embeddings.double().numpy(), seen.text, void, SCALE)
    w = np.where((seen.picture.text.owner == 1).numpy() & (kind == "ZSSeg"), 0.3, 0.7)
    c = q[:, :-1] ** (1 - w) * p**w
    c = plain.with_void(c, q[:, -1]) if kind == "SCAN" else c
    compare(seen, plain.mixture(c, masks), (masks[valid] > 0.5).any(0))


@pytest.fixture
def integration(tmp_path) -> str:
    """Of tokens as wide as the tiny tower's."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(6)
        made = SemanticIntegration(64, 24, layers=2, encoders=2, forward=20)
    state = {name: 0.3 * torch.randn_like(tensor) for name, tensor in made.state_dict().items()}
    save_file(state, tmp_path / "asks.safetensors")
    return str(tmp_path / "asks.safetensors")


def test_the_queries_of_a_head_ask_the_whole_picture(head, integration, build_segmentor):
    """Blocks 1 and 3, patches before any norm, and the picture's own feature."""
    options = dict(head=head, integration=integration, asked=(1, 3), sigmas=(3.0, 1.5), tower=None, blocks=(1, 3))
    model = build_segmentor(stages=[stage("SCAN", StubProposals, **options)])
    seen, visual = Seen(model), model.backbone.clip.visual
    embeddings = seen.picture.proposals(model.stages[0].regions).embeddings
    found = model.stages[0].queries(embeddings, seen.picture)
    below, beside = (-side % 32 for side in SIZE)
    side, patch = visual.image_size[0], visual.conv1.kernel_size[0]
    image = plain.nearest(np.pad(seen.image, ((0, 0), (0, below), (0, beside))), side)
    states = plain.class_states(image, visual)
    patches = [states[d][1:].T.reshape(-1, side // patch, side // patch) for d in (0, 2)]
    overall = plain.unit(plain.joint(states[-1][:1], plain.tower_weights(visual)[-1]))[0]
    w = {name: tensor.double().numpy() for name, tensor in load_file(integration).items()}
    expected = plain.integrated(embeddings.double().numpy(), patches, (3.0, 1.5), overall, w)
    close(found, expected, 2e-4)
    assert "integration=asks#" in parts(SimpleNamespace(model=dict(stages=[dict(type="SCAN", **options)])), "stages")


def test_the_whole_picture_is_for_another_tower(build_segmentor):
    other = dict(arch="tiny", pretrained=None, seed=9)
    own, theirs = (
        Seen(build_segmentor(stages=[stage("SCAN", ratio=0.5, blocks=(1, 3), tower=None, **given)]))
        for given in ({}, dict(original=other))
    )
    assert not torch.equal(own.after, theirs.after)
    assert theirs.model.stages[0].second_tower.digest in dict(map(reversed, guides(theirs.model)))
    assert own.model.stages[0].second_tower is None


@pytest.mark.parametrize("provider", [StubRegions, StubProposals])
def test_the_cheap_reader_takes_means_of_patches(provider, build_segmentor):
    """Windows of 32 pixels, 16 apart, in patches of 8."""
    model = build_segmentor(stages=[stage(provider=provider, reader="patches")])
    seen = Seen(model)
    regions = seen.picture.proposals(model.stages[0].regions)
    if provider is StubRegions:
        masks = np.stack([(regions.ids == number).numpy() for number in range(6) if (regions.ids == number).any()])
    else:
        masks = regions.masks().double().numpy()
    sums = np.zeros((len(masks), 24))
    for (top, left, _, _), window in zip(seen.picture.plan.boxes(), seen.picture.patches.double().numpy(), strict=True):
        for row in range(4):
            for column in range(4):
                own = window[:, row, column] / np.sqrt((window[:, row, column] ** 2).sum())
                where = slice(top + 8 * row, top + 8 * row + 8), slice(left + 8 * column, left + 8 * column + 8)
                sums += masks[(slice(None), *where)].sum((1, 2))[:, None] * own
    found, valid = model.stages[0].features(regions, seen.picture)
    assert valid.all()
    close(found, sums / np.sqrt((sums**2).sum(1))[:, None])


@pytest.mark.parametrize("reader", ["crops", "patches"])
def test_without_a_region_with_one_and_with_many(reader, build_segmentor):
    nothing, one, many = (
        Seen(build_segmentor(stages=[stage(given=given, reader=reader)]))
        for given in (dict(count=0), dict(count=1, void=False), dict(count=500, seed=3))
    )
    assert torch.equal(nothing.after, nothing.before)
    assert torch.allclose(one.after, one.after[:, :1, :1].expand_as(one.after))
    assert many.after.isfinite().all()
    assert not torch.equal(many.after, many.before)
    masks = Seen(build_segmentor(stages=[stage(provider=StubProposals, given=dict(count=0), reader=reader)]))
    assert torch.equal(masks.after, masks.before)


@torch.no_grad()
@pytest.mark.parametrize("chosen", [stage(), stage("SCAN", ratio=0.5), stage(provider=StubProposals)], ids=str)
def test_two_pictures_together_are_each_by_itself(chosen, build_segmentor):
    model = build_segmentor(stages=[chosen])
    model.prepare()

    def predicted(*seeds):
        samples = [SegDataSample(metainfo=dict(ori_shape=SIZE)) for _ in seeds]
        for seed, sample in zip(seeds, samples, strict=True):
            sample.set_data(dict(original=original(seed)))
        inputs = [model.data_preprocessor.prepared(original(seed)) for seed in seeds]
        return [maps.dense() for _, maps in model.segment(inputs, samples)]

    for together, (alone,) in zip(predicted(0, 1), (predicted(0), predicted(1)), strict=True):
        assert torch.allclose(together, alone, atol=2e-6)


def test_crops_do_not_depend_on_the_batch(build_segmentor):
    one, many = (
        Seen(build_segmentor(stages=[stage("SCAN", ratio=0.5)], window=dict(crop=32, stride=16, batch=batch)))
        for batch in (1, 16)
    )
    assert torch.allclose(one.after, many.after, atol=2e-6)


def test_what_does_not_go_together_is_refused(head, build_segmentor, tmp_path):
    with pytest.raises(InputError, match="its reader is 'crops'"):
        build_segmentor(stages=[stage("SCAN", reader="patches")])
    with pytest.raises(InputError, match="StubRegions gives a map"):
        Seen(build_segmentor(stages=[stage(head=head)]))
    with pytest.raises(InputError, match="queries of a head, and there is none"):
        build_segmentor(stages=[stage("SCAN", integration="file")])
    with pytest.raises(InputError, match="'gras', which is no class"):
        build_segmentor(stages=[stage(head=head, trained=["gras"])])
    with pytest.raises(InputError, match="gives 7 numbers"):
        Seen(build_segmentor(stages=[stage(provider=StubProposals, given=dict(width=7), head=head)]))
    save_file({"void": torch.zeros(24), "weight": torch.zeros(2)}, tmp_path / "other.safetensors")
    with pytest.raises(InputError, match="no head of proposals"):
        build_segmentor(stages=[stage(head=str(tmp_path / "other.safetensors"))])
    (tmp_path / "no.safetensors").write_text("nothing")
    with pytest.raises(InputError, match="cannot be read"):
        build_segmentor(stages=[stage(head=str(tmp_path / "no.safetensors"))])


def test_the_layers_of_a_head_come_before_its_comparison(head, build_segmentor):
    plain_head = build_segmentor(stages=[stage(head=head)]).stages[0].head
    x, text = torch.randn(5, 24), torch.nn.functional.normalize(torch.randn(3, 24), dim=1)
    first, second = (torch.randn(24, 24), torch.randn(24)), (torch.eye(24), torch.zeros(24))
    through = replace(plain_head, layers=(first, second)).probabilities(x, text, SCALE)
    by_hand = plain_head.probabilities((x @ first[0].T + first[1]).relu(), text, SCALE)
    assert torch.allclose(through, by_hand, atol=1e-6)
    assert plain_head.told != replace(plain_head, void=plain_head.void + 1).told


def test_the_head_s_digest_is_in_the_signature_and_not_its_place(head):
    written = SimpleNamespace(model=dict(stages=[dict(type="ZSSeg", regions="sam2", head=head)]))
    assert "head=seen#" in parts(written, "stages")
    assert "/" not in parts(written, "stages")
