"""timm's ViTs as guides: features and positions against timm's and DINO's own, the last attention by hand, weights."""

import formulas_guided as guided
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from formulas import softmax
from huggingface_hub import constants
from safetensors.torch import save_file
from tiny_guides import PREFIX, VITS, assert_close, create, last_block_by_hand, normalised, rgb, stirred, stock, write
from torch import Tensor, nn

from sclip_seg.errors import InputError
from sclip_seg.registry import GUIDES
from sclip_seg.towers.guide import Guide, LastAttention, TimmGuide

GRIDS = [(4, 6), (6, 4), (3, 5), (8, 8), (1, 7)]


@pytest.fixture(autouse=True)
def offline(tmp_path, monkeypatch):
    """No download, and none from before."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Paths of weights, by name."""
    folder = tmp_path_factory.mktemp("guides")
    return {name: write(name, folder) for name in VITS}


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


def build(name: str, files: dict[str, str], **others) -> TimmGuide:
    arch, options = VITS[name]
    return TimmGuide(arch, files[name], options=options, **others).requires_grad_(False)


def for_grid(name: str, grid: tuple[int, int], count: int = 2) -> Tensor:
    patch = {"dino": 8, "registers": 14, "bare": 16}[name]
    return rgb(count, *(n * patch for n in grid))


def features_of(model: nn.Module, image: Tensor, name: str, grid: tuple[int, int]) -> Tensor:
    """(N, C, h, w) from timm's own forward, prefix tokens left out."""
    tokens = model.forward_features(normalised(image, name))[:, PREFIX[name] :]
    return tokens.transpose(1, 2).reshape(len(image), -1, *grid)


@pytest.mark.parametrize("positions", ["dino", "gem", "maskclip"])
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
def test_what_no_patch_covers_is_not_seen(name, files):
    guide, image = build(name, files), for_grid(name, (3, 5))
    odd = F.pad(image, (0, 7, 0, 5), value=0.3)
    assert torch.equal(guide(odd), guide(image))
    assert tuple(guide.last_attention(odd[:1]).grid) == (3, 5)


@pytest.mark.parametrize("name", VITS)
def test_a_picture_leaves_no_trace_in_the_next(name, files):
    guide, image = build(name, files), for_grid(name, (4, 4))
    first = guide(image)
    guide(for_grid(name, (7, 2)))
    guide.last_attention(for_grid(name, (3, 3), count=1))
    assert torch.equal(guide(image), first)
    assert_close(torch.cat([guide(image[:1]), guide(image[1:])]), first)


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
    assert "'dinos'" in said(arch=arch, pretrained=files["dino"], options=options, positions="dinos")


def test_missing_files_and_missing_weights_are_named(tmp_path):
    arch, options = VITS["dino"]
    missing = str(tmp_path / "none.safetensors")
    assert missing in said(arch=arch, pretrained=missing, options=options)
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


@pytest.mark.parametrize("grid", GRIDS, ids=str)
@pytest.mark.parametrize("name", VITS)
def test_queries_plus_keys_are_those_of_the_last_block(name, grid, files):
    image = for_grid(name, grid, count=1)
    found = build(name, files, positions="gem").query_plus_key(image)
    guide = build(name, files, positions="gem")
    guide.place(image)
    q, k, _ = last_block_by_hand(guide.model, normalised(image, name))
    joined = np.concatenate(list(q + k), axis=1)[PREFIX[name] :]
    assert_close(found[0].flatten(1).T.double(), torch.from_numpy(joined))
    with pytest.raises(InputError, match="does not show its queries and keys"):
        Guide().query_plus_key(image)
