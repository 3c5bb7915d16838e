"""SAM refinement against its rule in float64 loops, an oracle as the decoder; the decoder against SamModel."""

import sys
from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy import ndarray as Array
from plain_sam import (
    GRID,
    LOW,
    SIDE,
    Oracle,
    at_random,
    by_the_rule,
    everywhere,
    in_order,
    painted,
    picture,
    prompts_for_decoder,
    released_embedding,
    small_sam,
)
from refinements import refinement_by
from torch import Tensor

from sclip_seg.errors import InputError
from sclip_seg.picture.refine.sam import SAMRefinement

SIZES = [(40, 56), (57, 33), (31, 64)]


@pytest.fixture(scope="module")
def sam():
    """SamModel of tiny widths, its biases stirred."""
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    model = transformers.SamModel(transformers.SamConfig(**small_sam())).eval()
    for parameter in [*model.prompt_encoder.parameters(), *model.mask_decoder.parameters()]:
        parameter.data += 0.1 * torch.randn_like(parameter)
    return model


@pytest.fixture(scope="module")
def folder(sam, tmp_path_factory) -> str:
    path = tmp_path_factory.mktemp("sam")
    sam.save_pretrained(path)
    return str(path)


@pytest.fixture
def build(folder) -> Callable[..., SAMRefinement]:
    return lambda **options: refinement_by(folder, **dict(min_area=6) | options)


def run(refinement: SAMRefinement, labels: Tensor, probability: Tensor, size: tuple[int, int] = (SIDE, SIDE)) -> Tensor:
    embedding = torch.randn(16, GRID, GRID, generator=torch.Generator().manual_seed(5))
    return refinement.redraw(labels, probability, embedding, size)


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("fall_back", ["released", "intended"])
def test_labels_follow_the_rule(build, monkeypatch, size, fall_back):
    labels, probability = picture(size)
    within = tuple(side * SIDE // max(size) for side in size)
    refinement = build(fall_back=fall_back)
    oracle = Oracle(refinement, monkeypatch, at_random)
    refined = run(refinement, labels, probability, within)
    expected, prompts = by_the_rule(labels, probability, within, at_random, intended=fall_back == "intended")
    assert len(oracle.prompts) == len(prompts) >= 6
    assert refined.dtype == torch.int64
    assert (refined.numpy() != expected).mean() < 0.002  # fp32 against float64 at a mask's edge
    assert (refined != labels).float().mean() > 0.02


def test_the_two_fall_backs_differ(build, monkeypatch):
    found = []
    for fall_back in ("released", "intended"):
        refinement = build(fall_back=fall_back)
        Oracle(refinement, monkeypatch, at_random)
        found.append(run(refinement, *picture(SIZES[0])))
    assert (found[0] != found[1]).any()


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_prompts_are_peak_box_and_mask(build, monkeypatch, size):
    labels, probability = picture(size, seed=1)
    refinement = build()
    oracle = Oracle(refinement, monkeypatch, at_random)
    run(refinement, labels, probability)
    expected = in_order(by_the_rule(labels, probability, (SIDE, SIDE), at_random)[1])
    assert len(oracle.prompts) == len(expected) >= 5
    for found, wanted in zip(in_order(oracle.prompts), expected, strict=True):
        for part, rule in zip(found, wanted, strict=True):
            np.testing.assert_allclose(part, rule, rtol=1e-5, atol=1e-6)
        assert 0 < (found[2] > 0).mean() < 1


def test_a_prompt_by_hand(build, monkeypatch):
    bay_and_island = {(16, 30, 18, 30): (0, 0.9), (22, 26, 22, 26): (1, 0.95)}
    labels, probability = painted({(16, 32, 8, 48): (1, 0.6), (20, 22, 40, 42): (1, 0.8)} | bay_and_island)
    refinement = build(mask_weight=0.5)
    oracle = Oracle(refinement, monkeypatch, everywhere)
    run(refinement, labels, probability)
    [(point, box, mask)] = [prompt for prompt in oracle.prompts if prompt[1][0] > 0]
    assert point.tolist() == [20 * 4, 10 * 4]  # not the island's
    assert box.tolist() == [4 * 4, 8 * 4, 23 * 4, 15 * 4]
    assert mask[10, 20] == pytest.approx(0.5 * 0.8)
    assert mask[9, 5] == pytest.approx(0.5 * 0.6)
    assert mask[0].tolist() == [0] * 32


def test_regions_touching_at_a_corner_are_one(build, monkeypatch):
    squares = [(8, 16, 8, 16), (16, 24, 16, 24), (8, 16, 40, 48)]
    labels, probability = painted(dict.fromkeys(squares, (1, 0.8)))
    refinement = build(min_area=16)
    oracle = Oracle(refinement, monkeypatch, everywhere)
    run(refinement, labels, probability)
    boxes = sorted(tuple(box / 4) for _, box, _ in oracle.prompts)
    assert boxes == [(0, 0, 31, 31), (4, 4, 11, 11), (20, 4, 23, 7)]
    assert oracle.calls == 2  # one for each class


@pytest.mark.parametrize(("area", "kept"), [(16, True), (17, False)])
def test_small_regions_do_not_prompt(build, monkeypatch, area, kept):
    labels, probability = painted({(8, 16, 8, 16): (1, 0.8)})
    refinement = build(min_area=area)
    oracle = Oracle(refinement, monkeypatch, everywhere)
    run(refinement, labels, probability)
    assert len(oracle.prompts) == 1 + kept


@pytest.mark.parametrize(("iou", "accepted"), [(0.75, False), (0.8125, True), (0.78125, False)])
def test_only_ious_above_the_threshold_are_accepted(build, monkeypatch, iou, accepted):
    labels, probability = painted({(0, 64, 0, 30): (1, 0.8)})
    refinement = build(iou_threshold=0.78125)  # which fp32 holds exactly
    Oracle(refinement, monkeypatch, lambda point, box: (everywhere(point, box)[0], iou if box[0] == 0 else 0.0))
    refined = run(refinement, labels, probability)
    assert torch.equal(refined, torch.ones_like(labels) if accepted else labels)


def test_what_is_accepted_is_drawn_and_the_rest_stays(build, monkeypatch):
    labels, probability = painted({(16, 32, 16, 32): (1, 0.8), (44, 60, 4, 60): (2, 0.8)})

    def answer(point: Array, box: Array) -> tuple[Array, float]:
        logits = np.full((LOW, LOW), -5.0)
        logits[8:16, 8:20] = 5.0  # wider than the square of class 1, whose box starts at 8 of 32
        return logits, 0.9 if box[1] == 32 else 0.1

    refinement = build()
    Oracle(refinement, monkeypatch, answer)
    expected = labels.clone()
    expected[16:32, 16:40] = 1
    assert torch.equal(run(refinement, labels, probability), expected)


def test_background_is_drawn_like_any_class(build, monkeypatch):
    labels, probability = painted({(16, 48, 16, 48): (1, 0.8)})
    refinement = build()
    Oracle(refinement, monkeypatch, lambda point, box: (everywhere(point, box)[0], 0.9 if box[0] == 0 else 0.1))
    assert not run(refinement, labels, probability).any()


def test_overlapping_masks_go_to_the_larger_product(build, monkeypatch):
    labels, probability = painted({(0, 64, 0, 32): (1, 0.6)})

    def answer(point: Array, box: Array) -> tuple[Array, float]:
        return np.full((LOW, LOW), 5.0 if box[0] == 0 else 0.01), 0.9  # class 0 lies right, and is half sure

    refinement = build()
    Oracle(refinement, monkeypatch, answer)
    refined = run(refinement, labels, probability)
    # Left: 0.993·0.6 against 0.5·0.2; right: 0.993·0.05 against 0.5·0.9.
    assert torch.equal(refined, labels)


@pytest.mark.parametrize("fall_back", ["released", "intended"])
def test_nothing_accepted_leaves_the_labels(build, monkeypatch, fall_back):
    labels, probability = picture(SIZES[0])
    refinement = build(fall_back=fall_back)
    oracle = Oracle(refinement, monkeypatch, lambda point, box: (everywhere(point, box)[0], 0.8 - 1e-3))
    assert torch.equal(run(refinement, labels, probability), labels)
    assert oracle.prompts


def test_unsure_pixels_and_unsure_classes_do_not_prompt(build, monkeypatch):
    labels, probability = painted({(0, 32, 0, 64): (1, 0.5), (0, 8, 0, 8): (1, 0.8)}, classes=4)
    labels[40:56, 8:24] = 2  # the label of a class that is nowhere at 0.2, where another one is sure
    refinement = build(coarse_threshold=0.6)
    oracle = Oracle(refinement, monkeypatch, everywhere)
    run(refinement, labels, probability)
    assert [tuple(box / 4) for _, box, _ in oracle.prompts] == [(0, 16, 31, 31), (0, 0, 3, 3)]


@pytest.mark.parametrize("count", [1, 64, 65, 90])
def test_many_regions_go_in_calls_of_64(build, monkeypatch, count):
    squares = [(8 * row, 8 * column) for row in range(10) for column in range(10)][:count]
    labels, probability = painted({(y, y + 4, x, x + 4): (1, 0.8) for y, x in squares}, (80, 80))
    refinement = build(min_area=1)
    oracle = Oracle(refinement, monkeypatch, lambda _, box: (np.full((LOW, LOW), 4.0 if max(box) < 10 else -4.0), 0.9))
    assert run(refinement, labels, probability).all()  # by the mask of the first square
    assert len(oracle.prompts) == count + 1
    assert oracle.calls == 1 + -(-count // 64)


def test_only_the_picture_is_read_off_the_masks(build, monkeypatch):
    labels, probability = painted({(0, 32, 0, 32): (1, 0.8)}, (32, 64))
    low = np.full((LOW, LOW), 5.0)
    low[LOW // 2 + 1 :] = -5.0  # below the picture of 64 x 128, and the row that bilinear sampling shares
    refinement = build()
    Oracle(refinement, monkeypatch, lambda point, box: (low, 0.9 if box[0] == 0 else 0.1))
    assert run(refinement, labels, probability, (64, 128)).all()
    assert not run(refinement, labels, probability, (128, 128))[-12:, 32:].any()


def test_decoder_is_sams_own(build, sam):
    embedding, points, boxes, mask = prompts_for_decoder(3)
    with torch.no_grad():
        logits, iou = build(mask_norm="channels").decode(embedding, points, boxes, mask)
        for index in range(3):
            alone = sam(
                image_embeddings=embedding[None],
                input_points=points[None, [index], None],
                input_boxes=boxes[None, [index]],
                input_masks=mask[None, None],
                multimask_output=False,
            )
            torch.testing.assert_close(logits[index], alone.pred_masks[0, 0, 0], rtol=1e-4, atol=1e-5)
            torch.testing.assert_close(iou[index], alone.iou_scores[0, 0, 0], rtol=1e-4, atol=1e-5)


def test_mask_prompt_is_normalised_as_released(build, sam):
    mask = prompts_for_decoder(1)[3]
    weights = {name: part.double().numpy() for name, part in sam.prompt_encoder.mask_embed.state_dict().items()}
    with torch.no_grad():
        found = build().embed(mask)[0]
        as_trained = build(mask_norm="channels").embed(mask)[0]
    expected = released_embedding(mask.double().numpy(), weights)
    np.testing.assert_allclose(found.numpy(), expected, rtol=0, atol=1e-5)
    assert (found - as_trained).abs().max() > 0.1


def test_refined_with_the_decoder_itself(build):
    labels, probability = picture(SIZES[1])
    given = labels.clone(), probability.clone()
    first, again = (run(build(iou_threshold=-1e9), labels, probability) for _ in range(2))
    assert torch.equal(first, again)
    assert first.shape == labels.shape
    assert (first != labels).any()
    assert torch.equal(labels, given[0])
    assert torch.equal(probability, given[1])
    assert not first.requires_grad


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (5, 2)], ids=str)
def test_tiny_pictures(build, size):
    labels, probability = torch.zeros(size, dtype=torch.int64), torch.full((2, *size), 0.5)
    refined = run(build(min_area=1), labels, probability)
    assert refined.shape == size


def test_random_weights_are_those_of_sam_and_the_same_each_time():
    pytest.importorskip("transformers")
    state = torch.get_rng_state()
    first, second = refinement_by(None), refinement_by(None)
    assert torch.equal(torch.get_rng_state(), state)
    assert {name.split(".")[0] for name in first.state_dict()} == {"prompt_encoder", "mask_decoder", "guide"}
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
    assert not any(parameter.requires_grad for parameter in first.parameters())
    with torch.no_grad():
        embedding = torch.randn(256, 64, 64)
        logits, iou = first.decode(embedding, torch.rand(2, 2), torch.rand(2, 4), torch.rand(256, 256))
    assert (logits.shape, iou.shape) == ((2, 256, 256), (2,))


def test_without_transformers(monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(InputError) as caught:
        refinement_by(None)
    assert str(caught.value).endswith("pip install .[vfm]")
    assert "\n" not in str(caught.value)


def test_no_checkpoint_says_which_files_go_where(tmp_path):
    pytest.importorskip("transformers")
    with pytest.raises(InputError, match=r"FOLDER/config\.json and FOLDER/model\.safetensors"):
        refinement_by(str(tmp_path))


def test_checkpoint_without_the_decoder_is_refused(sam, tmp_path):
    state = {name: part for name, part in sam.state_dict().items() if "mask_decoder.transformer" not in name}
    sam.save_pretrained(tmp_path, state_dict=state)
    with pytest.raises(InputError, match=r"no SAM checkpoint: \d+ weights missing, e\.g\. mask_decoder\.transformer"):
        refinement_by(str(tmp_path))
