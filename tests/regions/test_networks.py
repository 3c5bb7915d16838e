"""Providers over transformers' networks, tiny and random: their maps, their grid, what is wrong with checkpoints."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch

hf = pytest.importorskip("transformers", reason="networks that find masks need transformers: pip install .[regions]")
if not hasattr(hf, "Sam2Model"):
    pytest.skip("these networks need transformers from 4.56 on", allow_module_level=True)

from tiny_networks import MADE, write  # noqa: E402

from sclip_seg.errors import InputError  # noqa: E402
from sclip_seg.regions import sam2  # noqa: E402
from sclip_seg.regions.queries import COCO_STUFF, EoMT, Mask2Former, panoptic_by  # noqa: E402
from sclip_seg.regions.regions import VOID, Regions, SoftRegions  # noqa: E402
from sclip_seg.registry import REGIONS  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")
LOOSE = {name: dict(threshold=0.0, mask=0.01, overlap=0.0) for name in ("mask2former", "maskformer", "eomt")}
LOOSE["sam2"] = dict(points=4, iou=0.0, stability=0.0, overlap=1.0)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """`checkpoint(name)`: a folder with one of that kind."""
    made = {}

    def make(name: str) -> str:
        if name not in made:
            made[name] = write(name, tmp_path_factory.mktemp(name))
        return made[name]

    return make


@pytest.fixture
def build(checkpoint):
    def make(name: str, **options):
        return REGIONS.build(dict(type=name, checkpoint=checkpoint(name), folder=None) | LOOSE[name] | options)

    return make


def picture(height: int = 48, width: int = 60, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3)).astype(np.uint8)


@pytest.mark.parametrize("size", [(48, 60), (61, 37), (40, 40)], ids=str)
@pytest.mark.parametrize("name", MADE)
def test_a_hard_map_at_the_pictures_size(name, size, build):
    source = build(name)
    found = source(picture(*size))
    assert isinstance(found, Regions)
    assert found.size == size
    assert found.count > 1
    assert torch.equal(source(picture(*size)).ids, found.ids)
    assert not torch.equal(source(picture(*size, seed=1)).ids, found.ids)
    assert f"#{source.digest}[trained on " in source.told
    assert len(source.digest) == 12


@pytest.mark.parametrize("name", ["mask2former", "maskformer", "eomt"])
def test_soft_masks_with_objectness(name, build):
    source = build(name, form="soft")
    found = source(picture())
    assert isinstance(found, SoftRegions)
    assert found.masks().shape == (found.count, 48, 60)
    assert ((found.objectness >= 0) & (found.objectness <= 1)).all()
    assert (found.embeddings is None) == (name == "eomt")
    if name != "eomt":
        assert found.embeddings.shape == (10, 32)
    outputs = source.model(source.prepare(images=picture(), return_tensors="pt")["pixel_values"])
    torch.testing.assert_close(1 - found.objectness, outputs.class_queries_logits[0].softmax(-1)[:, -1])


def test_what_lies_over_padding_is_cut_off(build):
    """EoMT's square of 64 pixels holds a wide picture in its upper part."""
    source = build("eomt", form="soft")
    assert source(picture(32, 64)).logits.shape[1:] == (32, 64)
    assert source(picture(64, 32)).logits.shape[1:] == (64, 32)


@pytest.mark.parametrize("name", MADE)
def test_nothing_found_is_all_void(name, build):
    strict = dict(iou=1.0) if name == "sam2" else dict(threshold=1.0)
    assert build(name, **strict)(picture()).ids.unique().tolist() == [VOID]


def test_settings_of_the_papers_rows():
    assert [*COCO_STUFF] == [*range(80, 133)]
    few = sam2.SAM2Few.__init__.__defaults__
    assert few[0] == "facebook/sam2-hiera-large"


def outputs(masks: list, classes: list) -> SimpleNamespace:
    return SimpleNamespace(
        masks_queries_logits=torch.tensor(masks)[None].float(), class_queries_logits=torch.tensor(classes)[None].float()
    )


def test_mask2former_paints_all_that_a_query_wins_and_eomt_what_is_likely():
    """Two queries side by side, the right one unsure of its last column; none has two classes."""
    masks = [[[8, 8, -8, -8]], [[-8, -8, 8, -2]]]
    classes = [[9, 0, 0], [0, 9, 0]]
    whole = panoptic_by(Mask2Former, outputs(masks, classes), (1, 4), threshold=0.5, mask=0.5, overlap=0.1).ids
    assert len(whole.unique()) == 2
    assert VOID not in whole
    likely = panoptic_by(EoMT, outputs(masks, classes), (1, 4), threshold=0.5, mask=0.5, overlap=0.1, stuff=[]).ids
    assert likely.tolist() == [[0, 0, 1, VOID]]


def test_pieces_of_one_stuff_class_are_one_region_of_eomt():
    masks, classes = [[[8, -8, -8]], [[-8, 8, -8]], [[-8, -8, 8]]], [[9, 0, 0], [0, 9, 0], [9, 0, 0]]
    limits = dict(threshold=0.5, mask=0.5, overlap=0.1)
    apart = panoptic_by(EoMT, outputs(masks, classes), (1, 3), stuff=[1], **limits).ids
    fused = panoptic_by(EoMT, outputs(masks, classes), (1, 3), stuff=[0], **limits).ids
    assert apart.tolist() == [[0, 1, 2]]
    assert fused.tolist() == [[0, 1, 0]]


def test_the_grid_of_points_covers_the_square_evenly():
    assert sam2.grid(2, (100, 100)).tolist() == [[25, 25], [75, 25], [25, 75], [75, 75]]
    points = sam2.grid(32, (1024, 1024))
    assert points.shape == (1024, 2)
    assert points.min(0).values.tolist() == [16, 16]
    assert points.max(0).values.tolist() == [1008, 1008]
    assert points[1].tolist() == [48, 16]


@pytest.mark.parametrize("several", [True, False])
def test_how_many_points_are_asked_about_at_a_time_moves_nothing(several, build, monkeypatch):
    source = build("sam2", several=several)
    found = source(picture()).ids
    monkeypatch.setattr(sam2, "POINTS", 3)
    monkeypatch.setattr(sam2, "PIXELS", 1)
    assert torch.equal(source(picture()).ids, found)


def test_a_single_mask_is_the_first_of_four_and_no_other(build):
    """What transformers would choose by stability among the three others, the authors leave."""
    source, seen = build("sam2", several=False), []
    handle = source.model.mask_decoder.register_forward_hook(lambda module, given, output: seen.append(output[0]))
    source(picture())
    handle.remove()
    assert seen[0].shape[2] == 1
    assert not source.model.mask_decoder.dynamic_multimask_via_stability


@pytest.mark.parametrize("name", MADE)
def test_no_such_checkpoint(name, tmp_path):
    with pytest.raises(InputError, match="not on this machine and could not be downloaded"):
        REGIONS.build(dict(type=name, checkpoint=str(tmp_path), folder=None))


def test_a_checkpoint_of_something_else(checkpoint, tmp_path):
    with pytest.raises(InputError, match=r"weights missing|not on this machine"):
        REGIONS.build(dict(type="maskformer", checkpoint=checkpoint("mask2former"), folder=None))


def test_weights_that_are_no_numbers(tmp_path):
    folder = write("eomt", tmp_path)
    model = hf.EomtForUniversalSegmentation.from_pretrained(folder)
    model.class_predictor.bias.data[0] = torch.nan
    model.save_pretrained(folder)
    with pytest.raises(InputError, match=r"NaN or infinite numbers in 1 tensors, e.g. class_predictor.bias"):
        REGIONS.build(dict(type="eomt", checkpoint=folder, folder=None))


def test_a_pickled_checkpoint_is_not_read(tmp_path):
    folder = write("eomt", tmp_path)
    model = hf.EomtForUniversalSegmentation.from_pretrained(folder)
    (tmp_path / "model.safetensors").unlink()
    torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")
    with pytest.raises(InputError, match="unreadable"):
        REGIONS.build(dict(type="eomt", checkpoint=folder, folder=None))


def test_without_transformers_a_line_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(InputError, match=r"need transformers from 4.56 on: pip install \.\[regions\]"):
        REGIONS.build(dict(type="sam2", folder=None))
