"""Guides against timm's own models, DINO's rule for positions, and SAM's attention from its raw weights."""

import formulas_guided as guided
import numpy as np
import pytest
import timm
import torch
import torch.nn.functional as F
from formulas import softmax
from huggingface_hub import constants
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor, nn

from sclip_seg.errors import InputError
from sclip_seg.guide import Guide, LastAttention, SAMGuide, TimmGuide
from sclip_seg.registry import GUIDES

IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
CENTRED = (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)
TINY = dict(embed_dim=48, depth=2, num_heads=3)
# timm's name and what makes it tiny, with a native grid of 4 x 4: class token; 4 registers, none of them and not the
# class token with a position; no such token at all.
VITS = {
    "dino": ("vit_small_patch8_224.dino", TINY | dict(img_size=32)),
    "registers": ("vit_small_patch14_reg4_dinov2.lvd142m", TINY | dict(img_size=56)),
    "bare": ("vit_base_patch16_siglip_224.webli", TINY | dict(img_size=64)),
}
STATISTICS = {"dino": IMAGENET, "registers": IMAGENET, "bare": CENTRED}
PREFIX = {"dino": 1, "registers": 5, "bare": 0}
GRIDS = [(4, 6), (6, 4), (3, 5), (8, 8), (1, 7)]
SAM = "samvit_base_patch16.sa1b"
SAM_TINY = TINY | dict(img_size=128, global_attn_indexes=[1], window_size=3, neck_chans=16)


@torch.no_grad()
def stirred(model: nn.Module) -> nn.Module:
    """Random weights of a size that shows: fresh ones have no positions, no biases and even attention."""
    generator = torch.Generator().manual_seed(2)
    for name, parameter in model.named_parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        if parameter.ndim == 1:
            parameter.copy_(0.2 * noise + (0 if name.endswith("bias") else 1))
        elif "pos" in name or "token" in name:
            parameter.copy_(0.5 * noise)
        else:
            parameter.copy_((2 if "qkv" in name else 1) * noise / parameter[0].numel() ** 0.5)
    return model


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Paths of stirred weights, by name."""
    folder, paths = tmp_path_factory.mktemp("guides"), {}
    for name, (arch, options) in (VITS | {"sam": (SAM, SAM_TINY)}).items():
        paths[name] = folder / f"{name}.safetensors"
        save_file(stirred(create(arch, **options)).state_dict(), paths[name])
    return {name: str(path) for name, path in paths.items()}


def create(arch: str, **options) -> nn.Module:
    return timm.create_model(arch, pretrained=False, **options).eval().requires_grad_(False)


def stock(name: str, **others) -> nn.Module:
    """timm's own model with the weights of that file."""
    arch, options = VITS.get(name, (SAM, SAM_TINY))
    return stirred(create(arch, **options)) if not others else create(arch, **options | others)


def at_grid(name: str, grid: tuple[int, int], offset: float = 0.1) -> nn.Module:
    """timm's model built for pictures of `grid` patches, its table resampled by the formula."""
    native = stock(name)
    patch = native.patch_embed.patch_size[0]
    model = stock(name, img_size=tuple(n * patch for n in grid))
    state = native.state_dict()
    table = state["pos_embed"][0].double().numpy()
    lead, patches = table[: len(table) - 16], table[len(table) - 16 :]
    table = np.concatenate([lead, guided.position_table(patches, (4, 4), grid, offset)])
    model.load_state_dict(state | {"pos_embed": torch.from_numpy(table).float()[None]})
    return model


def normalised(image: Tensor, name: str) -> Tensor:
    mean, std = (torch.tensor(numbers).view(3, 1, 1) for numbers in STATISTICS.get(name, IMAGENET))
    return (image - mean) / std


def build(name: str, files: dict[str, str], **others) -> TimmGuide:
    arch, options = VITS[name]
    return TimmGuide(arch, files[name], options=options, **others).requires_grad_(False)


def build_sam(files: dict[str, str]) -> SAMGuide:
    return SAMGuide(SAM, files["sam"], side=128, options=SAM_TINY).requires_grad_(False)


def rgb(count: int, height: int, width: int, seed: int = 0) -> Tensor:
    """Random pictures (count, 3, height, width) of whole 8-bit values, in [0, 1]."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, 3, height, width), generator=generator) / 255


def for_grid(name: str, grid: tuple[int, int], count: int = 2) -> Tensor:
    patch = {"dino": 8, "registers": 14, "bare": 16}[name]
    return rgb(count, *(n * patch for n in grid))


def features_of(model: nn.Module, image: Tensor, name: str, grid: tuple[int, int]) -> Tensor:
    """(N, C, h, w) from timm's own forward, prefix tokens left out."""
    tokens = model.forward_features(normalised(image, name))[:, PREFIX[name] :]
    return tokens.transpose(1, 2).reshape(len(image), -1, *grid)


def assert_close(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("positions", ["sclip", "gem", "maskclip"])
@pytest.mark.parametrize("name", VITS)
def test_features_at_the_native_size_are_timms(name, positions, files):
    guide, image = build(name, files, positions=positions), for_grid(name, (4, 4))
    found, expected = guide(image), features_of(stock(name), image, name, (4, 4))
    assert_close(found, expected)
    assert guide.unit == image.shape[2] // 4
    assert not torch.allclose(found[0], found[1], atol=1e-1)


@pytest.mark.parametrize("grid", [*GRIDS, (2, 8)], ids=str)
@pytest.mark.parametrize("name", VITS)
def test_positions_follow_dinos_rule(name, grid, files):
    """(2, 8) has as many patches as the native grid, and DINO's code asks for the same shape."""
    guide, image = build(name, files), for_grid(name, grid)
    found = guide(image)
    assert_close(found, features_of(at_grid(name, grid), image, name, grid))
    assert not torch.allclose(found, features_of(at_grid(name, grid, offset=0.0), image, name, grid), atol=1e-2)


@pytest.mark.parametrize("grid", [*GRIDS, (2, 8)], ids=str)
@pytest.mark.parametrize("name", VITS)
def test_positions_follow_timms_rule(name, grid, files):
    image = for_grid(name, grid)
    model = stock(name, dynamic_img_size=True)
    model.load_state_dict(stock(name).state_dict())
    found = build(name, files, positions="gem")(image)
    assert_close(found, features_of(model, image, name, grid))
    assert not torch.allclose(found, build(name, files)(image), atol=1e-2)


@pytest.mark.parametrize("name", VITS)
def test_positions_follow_the_plain_bicubic_rule(name, files):
    grid, image = (3, 6), for_grid(name, (3, 6))
    found = build(name, files, positions="maskclip")(image)
    assert_close(found, features_of(at_grid(name, grid, offset=0.0), image, name, grid))


@pytest.mark.parametrize("name", VITS)
def test_a_picture_leaves_no_trace_in_the_next(name, files):
    guide, image = build(name, files), for_grid(name, (4, 4))
    first = guide(image)
    guide(for_grid(name, (7, 2)))
    guide.last_attention(for_grid(name, (3, 3), count=1))
    assert torch.equal(guide(image), first)
    assert_close(torch.cat([guide(image[:1]), guide(image[1:])]), first)


def last_block_by_hand(model: nn.Module, image: Tensor) -> tuple[np.ndarray, ...]:
    """q, k, v (heads, T, d), float64, of a normalised picture (1, 3, H, W), from what the last norm1 put out."""
    block, seen = model.blocks[-1], []
    handle = block.norm1.register_forward_hook(lambda module, inputs, output: seen.append(output))
    model.forward_features(image)
    handle.remove()
    tokens = seen[0].flatten(0, -2).double().numpy()
    weight, bias = (getattr(block.attn.qkv, name).double().numpy() for name in ("weight", "bias"))
    heads, width = block.attn.num_heads, tokens.shape[1]
    joined = (tokens @ weight.T + bias).reshape(-1, 3, heads, width // heads)
    return tuple(joined[:, part].transpose(1, 0, 2) for part in range(3))


@pytest.mark.parametrize("grid", [(4, 4), (3, 5)], ids=str)
@pytest.mark.parametrize("name", VITS)
def test_last_attention_equals_the_formula(name, grid, files):
    image, prefix = for_grid(name, grid, count=1), PREFIX[name]
    last = build(name, files).last_attention(image)
    model = stock(name) if grid == (4, 4) else at_grid(name, grid)
    q, k, v = last_block_by_hand(model, normalised(image, name))
    count = grid[0] * grid[1]
    assert isinstance(last, LastAttention)
    assert tuple(last.grid) == grid
    np.testing.assert_allclose(last.values.numpy(), v[:, prefix:], rtol=0, atol=1e-4)
    for head in range(3):
        whole = np.stack([softmax(row) for row in q[head] @ k[head].T / np.sqrt(q.shape[2])])
        found = last.weights(head)
        assert found.shape == (count, count)
        np.testing.assert_allclose(found.numpy(), whole[prefix:, prefix:], rtol=0, atol=1e-5)
        # What the class token and the registers get is lost, and nothing else.
        lost = torch.from_numpy(whole[prefix:, :prefix].sum(1)).float()
        torch.testing.assert_close(found.sum(1), 1 - lost)
        assert (lost > 1e-3).any() == (prefix > 0)


@pytest.mark.parametrize("size", [(128, 128), (40, 56), (96, 64)], ids=str)
def test_sam_features_are_timms_neck(size, files):
    image = rgb(2, *size)
    square = np.stack([guided.bilinear(one, (128, 128)) for one in normalised(image, "sam").double().numpy()])
    expected = stock("sam").forward_features(torch.from_numpy(square).float())
    found = build_sam(files)(image)
    assert found.shape == (2, 16, 8, 8)
    assert_close(found, expected)
    assert build_sam(files).unit == 1


# Size, and the tokens that hold some of the picture and nothing else.
@pytest.mark.parametrize(
    ("size", "valid"),
    [((128, 128), (8, 8)), ((96, 128), (6, 8)), ((128, 40), (8, 2)), ((72, 64), (8, 7)), ((50, 70), (5, 8))],
    ids=str,
)
def test_sam_last_attention_equals_the_formula(size, valid, files):
    """From the tokens that the guide itself brought to its last block; how they came to be is the next test's."""
    guide, seen = build_sam(files), []
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
def test_sam_sees_the_picture_in_the_corner(size, files):
    """SAM's own way in: pillow's bilinear to a long side of 128, normalised, zeros below and to the right."""
    image, seen = rgb(1, *size), []
    guide = build_sam(files)
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


def test_random_weights_are_those_of_the_seed():
    def draw(seed: int) -> Tensor:
        arch, options = VITS["dino"]
        return TimmGuide(arch, None, options=options, seed=seed)(rgb(1, 32, 32))

    torch.manual_seed(5)
    state = torch.random.get_rng_state()
    first = draw(0)
    assert torch.equal(torch.random.get_rng_state(), state)
    torch.manual_seed(6)
    assert torch.equal(draw(0), first)
    assert not torch.allclose(draw(1), first, atol=1e-2)


@pytest.mark.parametrize("suffix", [".safetensors", ".pth", ".bin"])
def test_weights_are_found_in_the_folder(suffix, tmp_path, files):
    arch, options = VITS["dino"]
    path = tmp_path / f"{arch}{suffix}"
    state = stock("dino").state_dict()
    save_file(state, path) if suffix == ".safetensors" else torch.save(state, path)
    image = for_grid("dino", (4, 4))
    found = TimmGuide(arch, "timm", options=options, folder=str(tmp_path))(image)
    assert torch.equal(found, build("dino", files)(image))


def said(**settings) -> str:
    """What a guide that cannot be built says: one line."""
    with pytest.raises(InputError) as caught:
        TimmGuide(**settings)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_an_unknown_model_is_named():
    message = said(arch="vit_smal_patch8_224.dino", pretrained=None)
    assert "'vit_smal_patch8_224.dino'" in message
    assert "vit_small_patch8_224.dino" in message
    assert "vit_small_patch8_224.dyno" in said(arch="vit_small_patch8_224.dyno", pretrained=None)


def test_an_unknown_rule_for_positions_is_named(files):
    arch, options = VITS["dino"]
    assert "'dino'" in said(arch=arch, pretrained=files["dino"], options=options, positions="dino")


def test_missing_files_and_missing_weights_are_named(tmp_path, monkeypatch):
    arch, options = VITS["dino"]
    missing = str(tmp_path / "none.safetensors")
    assert missing in said(arch=arch, pretrained=missing, options=options)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    message = said(arch=arch, pretrained="timm", options=options, folder=str(tmp_path))
    assert arch in message
    assert str(tmp_path / f"{arch}.safetensors") in message


@pytest.mark.parametrize("fault", ["rubbish", "another width", "a part", "other names"])
@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_a_wrong_file_is_refused(fault, suffix, tmp_path):
    arch, options = VITS["dino"]
    path, state = tmp_path / f"guide{suffix}", stock("dino").state_dict()
    if fault == "another width":
        state = stirred(create(arch, **options | dict(embed_dim=24))).state_dict()
    elif fault == "a part":
        state = {name: tensor for name, tensor in state.items() if not name.startswith("blocks.1.")}
    elif fault == "other names":
        state = {f"visual.{name}": tensor for name, tensor in state.items()}
    if fault == "rubbish":
        path.write_bytes(b"no weights at all" * 40)
    elif suffix == ".pth":
        torch.save(state, path)
    else:
        save_file(state, path)
    message = said(arch=arch, pretrained=str(path), options=options)
    assert str(path) in message
    assert arch in message


def test_the_shelf_holds_the_guides(files):
    assert {"TimmGuide", "SAMGuide"} <= set(GUIDES.module_dict)
    arch, options = VITS["dino"]
    guide = GUIDES.build(dict(type="TimmGuide", arch=arch, pretrained=files["dino"], options=options))
    assert isinstance(guide, Guide)
    assert_close(guide(for_grid("dino", (4, 4))), build("dino", files)(for_grid("dino", (4, 4))))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("name", VITS)
def test_lower_precision_is_near(name, dtype, files):
    image = for_grid(name, (3, 5))
    exact, rounded = build(name, files), build(name, files).to(dtype)
    found = rounded(image)
    assert found.dtype == dtype
    assert F.cosine_similarity(found.float(), exact(image), dim=1).min() > 0.99
