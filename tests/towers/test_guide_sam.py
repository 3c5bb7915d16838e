"""SAM as a guide: its neck's features, and its last attention from the raw weights."""

import formulas_guided as guided
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from tiny_guides import IMAGENET, SAM, SAM_TINY, assert_close, last_block_by_hand, normalised, rgb, stock, write

from sclip_seg.towers.guide import SAMGuide


@pytest.fixture(scope="module")
def build(tmp_path_factory):
    """`build()`: a guide of a tiny SAM, 8 x 8 tokens of 16 pixels."""
    path = write("sam", tmp_path_factory.mktemp("sam"))
    return lambda: SAMGuide(SAM, path, side=128, options=SAM_TINY).requires_grad_(False)


@pytest.mark.parametrize("size", [(128, 128), (40, 56), (96, 64)], ids=str)
def test_sam_features_are_timms_neck(size, build):
    image = rgb(2, *size)
    square = np.stack([guided.bilinear(one, (128, 128)) for one in normalised(image, "sam").double().numpy()])
    expected = stock("sam").forward_features(torch.from_numpy(square).float())
    found = build()(image)
    assert found.shape == (2, 16, 8, 8)
    assert_close(found, expected)
    assert build().unit == 1


# Size, and the tokens that hold some of the picture and nothing else.
@pytest.mark.parametrize(
    ("size", "valid"),
    [((128, 128), (8, 8)), ((96, 128), (6, 8)), ((128, 40), (8, 2)), ((72, 64), (8, 7)), ((50, 70), (5, 8))],
    ids=str,
)
def test_sam_last_attention_equals_the_formula(size, valid, build):
    """From the tokens that the guide itself brought to its last block; how they came to be is the next test's."""
    guide, seen = build(), []
    handle = guide.model.patch_embed.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0]))
    last = guide.last_attention(rgb(1, *size))
    handle.remove()
    model = stock("sam")
    q, k, v = last_block_by_hand(model, seen[0])
    rows, columns = (getattr(model.blocks[-1].attn, name).double().numpy() for name in ("rel_pos_h", "rel_pos_w"))
    own = guided.top_left((8, 8), valid)
    assert tuple(last.grid) == valid
    np.testing.assert_allclose(last.values.numpy(), v[:, own], rtol=0, atol=1e-4)
    for head in range(3):
        whole = guided.relative_attention(q[head], k[head], rows, columns, (8, 8))
        np.testing.assert_allclose(whole.sum(1), 1)
        np.testing.assert_allclose(last.weights(head).numpy(), whole[np.ix_(own, own)], rtol=0, atol=1e-5)
    if valid != (8, 8):  # the padding has its part in the denominator
        assert (last.weights(0).sum(1) < 0.99).any()


def test_the_attention_by_hand_is_what_timm_multiplies():
    model, seen = stock("sam"), []
    handle = model.blocks[-1].attn.register_forward_hook(lambda module, inputs, output: seen.append(output))
    image = normalised(rgb(1, 128, 128), "sam")
    q, k, v = last_block_by_hand(model, image)
    handle.remove()
    attn = model.blocks[-1].attn
    tables = [getattr(attn, name).double().numpy() for name in ("rel_pos_h", "rel_pos_w")]
    mixed = [guided.relative_attention(q[head], k[head], *tables, (8, 8)) @ v[head] for head in range(3)]
    joined = np.concatenate(mixed, axis=1) @ attn.proj.weight.double().numpy().T + attn.proj.bias.double().numpy()
    np.testing.assert_allclose(seen[0].flatten(0, 2).numpy(), joined, rtol=0, atol=1e-4)


@pytest.mark.parametrize("size", [(96, 128), (128, 40), (72, 64), (50, 70), (200, 310)], ids=str)
def test_sam_sees_the_picture_in_the_corner(size, build):
    """SAM's own way in: pillow's bilinear to a long side of 128, normalised, zeros below and to the right."""
    image, seen = rgb(1, *size), []
    guide = build()
    handle = guide.model.patch_embed.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0]))
    guide.last_attention(image)
    handle.remove()
    pixels = (image[0] * 255).round().byte().permute(1, 2, 0).numpy()
    height, width = (int(side * 128 / max(size) + 0.5) for side in size)
    small = np.asarray(Image.fromarray(pixels).resize((width, height), Image.BILINEAR)) / 255
    expected = normalised(torch.from_numpy(small).float().permute(2, 0, 1), "sam")
    assert seen[0].shape == (1, 3, 128, 128)
    assert (seen[0][0, :, height:] == 0).all()
    assert (seen[0][0, :, :, width:] == 0).all()
    levels = (seen[0][0, :, :height, :width] - expected).abs() * torch.tensor(IMAGENET[1]).view(3, 1, 1) * 255
    assert levels.max() < 1.01  # pillow rounds to 8 bits after the columns as well
    assert levels.mean() < 0.25
    assert (levels.max() < 0.01) == (max(size) == 128)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_lower_precision_is_near(dtype, build):
    image = rgb(1, 96, 128)
    exact, rounded = build(), build().to(dtype)
    assert F.cosine_similarity(rounded(image).float(), exact(image), dim=1).min() > 0.99
    found, expected = rounded.last_attention(image), exact.last_attention(image)
    assert F.cosine_similarity(found.values.float(), expected.values, dim=-1).mean() > 0.99
    for head in range(3):
        assert (found.weights(head) - expected.weights(head)).abs().max() < 0.05 * expected.weights(head).max()
