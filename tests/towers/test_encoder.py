"""The trunk against open_clip's own forward, and positions against a bicubic written by hand."""

import ast
from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_towers import build
from torch import Tensor, nn

import sclip_seg
from sclip_seg.errors import InputError
from sclip_seg.towers.positions import resample
from sclip_seg.towers.trace import position

SOURCES = Path(sclip_seg.__file__).parent
# What is read of open_clip's objects, by the name the code gives them. A longer list is a wider dependence.
READ = {
    "visual": {
        *("conv1", "class_embedding", "positional_embedding", "ln_pre", "transformer", "ln_post", "proj"),
        *("image_size", "modules", "pool_type", "final_ln_after_pool", "attn_pool"),
    },
    "module": {"attn", "ln_1", "ls_1", "mlp"},
    "block": {"ln_2", "ls_2"},
    "mlp": {"gelu", "c_fc", "c_proj"},
    "attn": {"in_proj_weight", "in_proj_bias", "out_proj", "num_heads", "embed_dim", "v_proj_weight"},
    "clip": {"visual", "encode_text", "context_length", "parameters", "requires_grad_", "modules"},
    "parts": {
        *("transformer", "token_embedding", "positional_embedding", "attn_mask", "ln_final", "text_projection"),
        *("text_eos_id",),
    },
}
READ_OF_TIMM = {
    "trunk": {
        *("patch_embed", "cls_token", "reg_token", "pos_embed", "no_embed_class", "num_prefix_tokens", "norm_pre"),
        *("blocks", "norm", "attn_pool", "global_pool", "fc_norm", "head", "forward_head", "embed_dim"),
    },
    "module": {"attn", "norm1", "norm2", "mlp", "ls1", "ls2", "gamma_1", "gamma_2"},
    "attn": {"qkv", "q_proj", "k_proj", "v_proj", "q_norm", "k_norm", "norm", "proj", "rotate_half"},
    "pool": {"kv", "proj", "mlp", "norm", "pos_embed", "out_features"},
}
# Where each is read: what measures and trains reads no weights, guides are timm's, and `kinds` looks at every kind.
OWN = {
    "towers": {"block.py", "own_tower.py", "encoder.py", "frozen.py"},
    "words": {"text.py", "text_tower.py", "prompts.py"},
}
OF_TIMM = {"towers": {"timm_tower.py", "timm_blocks.py"}}


def own_tokens(visual: nn.Module, image: Tensor, monkeypatch) -> tuple[Tensor, Tensor]:
    """open_clip's own pooled feature (N, D) and projected patch tokens (N, T - 1, D)."""
    monkeypatch.setattr(visual, "output_tokens", True)
    pooled, tokens = visual(image)
    return pooled, tokens @ visual.proj


def bicubic_weight(distance: float, a: float = -0.75) -> float:
    """Keys' kernel with torch's a."""
    x = abs(distance)
    if x <= 1:
        return (a + 2) * x**3 - (a + 3) * x**2 + 1
    return a * x**3 - 5 * a * x**2 + 8 * a * x - 4 * a if x < 2 else 0.0


def bicubic_positions(table: np.ndarray, native, grid, extra: float) -> np.ndarray:
    """The (1 + h0·w0, C) table at `grid`, sampled at src = (dst + 0.5)·g0/(g + extra) - 0.5, borders clamped."""
    out = [table[0]]
    for i in range(grid[0]):
        for j in range(grid[1]):
            y = (i + 0.5) * native[0] / (grid[0] + extra) - 0.5
            x = (j + 0.5) * native[1] / (grid[1] + extra) - 0.5
            total = np.zeros(table.shape[1])
            for m in range(int(np.floor(y)) - 1, int(np.floor(y)) + 3):
                for n in range(int(np.floor(x)) - 1, int(np.floor(x)) + 3):
                    row, column = np.clip(m, 0, native[0] - 1), np.clip(n, 0, native[1] - 1)
                    weight = bicubic_weight(y - m) * bicubic_weight(x - n)
                    total += weight * table[1 + row * native[1] + column]
            out.append(total)
    return np.stack(out)


def test_plain_tail_equals_open_clips_own_tokens(build_dense, pictures, monkeypatch):
    dense, image = build_dense(), pictures(2, 32, 32)
    pooled, tokens = own_tokens(dense.clip.visual, image, monkeypatch)
    features = dense(image)
    assert features.shape == (2, 24, 4, 4)
    torch.testing.assert_close(features.flatten(2).transpose(1, 2), tokens, rtol=0, atol=1e-5)
    out = dense.clip.visual.ln_post(dense.tail.tokens(dense.trace(image))) @ dense.clip.visual.proj
    torch.testing.assert_close(out[:, 0], pooled, rtol=0, atol=1e-5)
    monkeypatch.undo()
    torch.testing.assert_close(out[:, 0], dense.clip.encode_image(image), rtol=0, atol=1e-5)


def test_every_hidden_state_equals_open_clips(build_dense, pictures):
    dense, image = build_dense(), pictures(2, 32, 32)
    dense.tail.reads = lambda depth: (-1, 0, 1, 2)
    trace = dense.trace(image)
    own = []
    for block in dense.clip.visual.transformer.resblocks:
        block.register_forward_hook(lambda module, inputs, output: own.append(output))
    dense.clip.visual(image)
    for block in range(4):
        torch.testing.assert_close(trace.hidden(block), own[block], rtol=0, atol=1e-5)
    assert trace.hidden(-2) is trace.hidden(2)
    assert trace.before(-1) is trace.hidden(2)


def test_the_trunk_runs_no_further_than_the_tail_reads(build_dense, pictures):
    dense = build_dense()
    dense.clip.visual.transformer.resblocks[-1].mlp.forward = None  # only a tail that asks for it may call it
    assert set(dense.trace(pictures(1, 32, 32)).states) == {2}


@pytest.mark.parametrize(("block", "index"), [(0, 0), (3, 3), (-1, 3), (-4, 0), (-5, -1)])
def test_blocks_are_counted_as_in_a_list(block, index):
    assert position(block, 4) == index


@pytest.mark.parametrize("block", [4, -6])
def test_a_block_that_is_not_there_is_refused(block):
    with pytest.raises(InputError, match=f"block {block} "):
        position(block, 4)


def test_layer_scale_is_honoured(register, pictures, build_dense, monkeypatch):
    config = {
        "embed_dim": 24,
        "vision_cfg": {"image_size": 32, "layers": 2, "width": 64, "head_width": 32, "patch_size": 16}
        | {"ls_init_value": 0.3},
        "text_cfg": {"context_length": 8, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1},
    }
    dense, image = build_dense(arch=register("tiny_scaled", config)), pictures(1, 32, 32)
    _, tokens = own_tokens(dense.clip.visual, image, monkeypatch)
    torch.testing.assert_close(dense(image).flatten(2).transpose(1, 2), tokens, rtol=0, atol=1e-5)


@pytest.mark.parametrize("size", [(24, 40), (64, 16), (48, 48)], ids=str)
def test_other_grids_equal_open_clip_with_positions_by_hand(size, build_dense, pictures, monkeypatch):
    dense, image = build_dense(), pictures(2, *size)
    grid = (size[0] // 8, size[1] // 8)
    visual = deepcopy(dense.clip.visual)
    table = visual.positional_embedding.detach().double().numpy()
    if grid[0] * grid[1] != 16:
        table = bicubic_positions(table, (4, 4), grid, extra=0.1)
    visual.positional_embedding = nn.Parameter(torch.from_numpy(table).float())
    _, tokens = own_tokens(visual, image, monkeypatch)
    features = dense(image)
    assert features.shape == (2, 24, *grid)
    torch.testing.assert_close(features.flatten(2).transpose(1, 2), tokens, rtol=0, atol=1e-5)


def test_the_rest_that_the_patch_does_not_divide_is_unseen(build_dense, pictures):
    dense, image = build_dense(), pictures(1, 37, 47)
    features = dense(image)
    assert features.shape == (1, 24, 4, 5)
    changed = image.clone()
    changed[:, :, 32:] = 9.0
    changed[:, :, :, 40:] = -9.0
    assert torch.equal(dense(changed), features)
    changed[:, :, 31, 39] = 9.0
    assert not torch.allclose(dense(changed), features, atol=1e-3)


@pytest.mark.parametrize(("rule", "extra"), [("sclip", 0.1), ("maskclip", 0.0)])
@pytest.mark.parametrize("grid", [(3, 5), (8, 6), (4, 7), (1, 9)], ids=str)
def test_positions_equal_the_bicubic_by_hand(grid, rule, extra):
    table = torch.randn(1 + 4 * 5, 6, generator=torch.Generator().manual_seed(0))
    resampled = resample(table, (4, 5), grid, rule)
    expected = bicubic_positions(table.double().numpy(), (4, 5), grid, extra)
    np.testing.assert_allclose(resampled.numpy(), expected, rtol=0, atol=1e-5)
    assert torch.equal(resampled[0], table[0])


def test_the_tenth_of_a_patch_matters():
    table = torch.randn(17, 6, generator=torch.Generator().manual_seed(0))
    assert (resample(table, (4, 4), (6, 6)) - resample(table, (4, 4), (6, 6), "maskclip")).abs().max() > 1e-2


def test_the_skip_rules():
    table = torch.randn(17, 6, generator=torch.Generator().manual_seed(0))
    assert torch.equal(resample(table, (4, 4), (4, 4), "sclip"), table)
    assert torch.equal(resample(table, (4, 4), (4, 4), "maskclip"), table)
    assert torch.equal(resample(table, (4, 4), (2, 8), "sclip"), table)  # as published: the count alone decides
    assert not torch.allclose(resample(table, (4, 4), (2, 8), "dino"), table, atol=1e-2)
    assert torch.equal(resample(table, (4, 4), (6, 6), "dino"), resample(table, (4, 4), (6, 6), "sclip"))
    assert not torch.allclose(resample(table, (4, 4), (2, 8), "maskclip"), table, atol=1e-2)


def test_the_rule_reaches_the_trunk(build_dense, pictures):
    image = pictures(1, 48, 48)
    assert not torch.allclose(build_dense()(image), build_dense(positions="maskclip")(image), atol=1e-4)
    with pytest.raises(InputError, match="'bilinear'"):
        build_dense(positions="bilinear")


def attributes(files: dict[str, set[str]], names: dict) -> dict[str, set[str]]:
    """What these files read of things by these names."""
    read = {name: set() for name in names}
    for path in (SOURCES / shelf / file for shelf, found in files.items() for file in found):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute):
                holder = getattr(node.value, "attr", getattr(node.value, "id", None))
                if holder in read and node.attr not in (
                    "output",
                    "tokens",
                    "run",
                    "cls_emb",
                    "named_children",
                    "named_parameters",
                ):
                    read[holder].add(node.attr)
    return read


def test_what_is_read_of_open_clip_is_pinned(build_dense):
    read = attributes(OWN, READ)
    read["parts"] -= {"eos_id"}  # of a text tower of its own
    read["clip"] -= {"text"}  # which is that
    assert read == READ
    clip = build_dense().clip
    block = clip.visual.transformer.resblocks[-1]
    things = dict(visual=clip.visual, module=block, block=block, attn=block.attn, mlp=block.mlp, clip=clip, parts=clip)
    for name, thing in things.items():
        missing = [attribute for attribute in READ[name] - {"v_proj_weight"} if not hasattr(thing, attribute)]
        assert not missing, f"open_clip's {name} has no {missing} any more"


def test_no_method_reads_into_a_block():
    inner = {"module", "attn", "in_proj_weight", "out_proj", "ln_1", "ln_2", "ls_1", "mlp", "resblocks", "visual"}
    for path in [*SOURCES.glob("methods/*.py"), *SOURCES.glob("picture/*.py"), SOURCES / "towers/tail.py"]:
        read = {node.attr for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Attribute)}
        assert read & inner <= {"mlp"}, path  # a setting of tails


def test_what_is_read_of_timm_is_pinned():
    assert attributes(OF_TIMM, READ_OF_TIMM) == READ_OF_TIMM
    trunks = [build(kind).clip.visual.trunk for kind in ("siglip", "pe", "eva02")]
    pools = [trunk.attn_pool for trunk in trunks[:2]]
    blocks = [trunk.blocks[-1] for trunk in trunks]
    things = dict(trunk=trunks, pool=pools, module=blocks, attn=[block.attn for block in blocks])
    for name, found in things.items():
        missing = [a for a in READ_OF_TIMM[name] if not any(hasattr(thing, a) for thing in found)]
        assert not missing, f"timm's {name} has no {missing} any more"
