"""Tiny towers of timm's kinds with random weights, and open_clip's own tower with the same weights."""

import json
import tempfile
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

import open_clip
import timm
import torch

from sclip_seg.measure.sweep import stir
from sclip_seg.towers.encoder import DenseCLIP

PLAIN = dict(type="LastBlock", attention="qk")
TEXT = {"context_length": 16, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1}
# Kind -> timm's model and pooling in an open_clip config, and what makes it tiny; windows of 32 pixels natively.
KINDS = {
    "siglip": ("vit_base_patch16_siglip_224", "map", "none", dict(num_heads=4, embed_dim=64)),
    "pe": ("vit_pe_core_base_patch16_224", "map", None, dict(num_heads=4, embed_dim=64, ref_feat_shape=(4, 4))),
    "pe without class": (
        "vit_pe_core_base_patch16_224",
        "map",
        None,
        dict(num_heads=4, embed_dim=64, class_token=False),
    ),
    "eva02": ("eva02_base_patch16_clip_224", "token", None, dict(num_heads=4, embed_dim=64, init_values=0.3)),
    "eva02 post-norm": (
        "eva02_enormous_patch14_clip_224",
        "token",
        None,
        dict(num_heads=4, embed_dim=64, mlp_ratio=2.0),
    ),
    "eva fused": ("eva_giant_patch14_224", "token", None, dict(num_heads=4, embed_dim=64, mlp_ratio=2.0)),
    "clip": ("vit_base_patch16_clip_224", "token", None, dict(num_heads=4, embed_dim=64)),
    "registers": (
        "vit_base_patch16_clip_224",
        "token",
        None,
        dict(num_heads=4, embed_dim=64, qk_norm=True, init_values=0.3, reg_tokens=2, no_embed_class=True),
    ),
    "mean": ("vit_medium_patch16_gap_256", "", "linear", dict(num_heads=4, embed_dim=64)),
}


def config_of(kind: str, width: int = 64) -> dict:
    """open_clip's config of a kind; SigLIP's joint space has the tokens' width."""
    name, pool, proj, _ = KINDS[kind]
    vision = {"image_size": 32, "timm_model_name": name, "timm_pool": pool, "timm_proj": proj}
    return {"embed_dim": width, "custom_text": True, "vision_cfg": vision, "text_cfg": TEXT}


@contextmanager
def tiny_timm(kind: str, depth: int = 3):
    """Within it, timm's models are tiny ones of that kind."""
    create, settings = timm.create_model, KINDS[kind][3]

    def tiny(*names: str, **others: object):
        return create(*names, **others, img_size=32, patch_size=8, depth=depth, **settings)

    with patch.object(timm, "create_model", tiny):
        yield


def build(kind: str, tail: dict | None = None, depth: int = 3, **others) -> DenseCLIP:
    """A tower of a kind, of patches of 8 on a native grid of 4 x 4, with stirred random weights."""
    name = f"tiny {kind} {depth}"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{name}.json"
        path.write_text(json.dumps(config_of(kind)))
        open_clip.add_model_config(path)
        with tiny_timm(kind, depth):
            dense = DenseCLIP(name, None, tail or PLAIN, **others)
    with torch.no_grad():
        stir(dense.clip)
    return dense


@torch.no_grad()
def own_twin(dense: DenseCLIP, tail: dict, register) -> DenseCLIP:
    """open_clip's own vision transformer with the weights of a timm tower of one of the two kinds that it can be."""
    trunk, depth = dense.clip.visual.trunk, len(dense.tower.blocks)
    is_eva = type(trunk).__name__ == "Eva"
    vision = {"image_size": 32, "layers": depth, "width": 64, "head_width": 16, "patch_size": 8}
    vision |= {"mlp_ratio": 2.0, "no_ln_pre": True, "norm_kwargs": {"eps": 1e-6}} if is_eva else {}
    config = {"embed_dim": 64, "vision_cfg": vision, "text_cfg": TEXT}
    twin = DenseCLIP(register(f"twin {is_eva} {depth}", config), None, tail)
    visual = twin.clip.visual
    visual.conv1.weight.copy_(trunk.patch_embed.proj.weight)
    if trunk.patch_embed.proj.bias is not None:
        trunk.patch_embed.proj.bias.zero_()
    trunk.head.bias.zero_()
    visual.class_embedding.copy_(trunk.cls_token[0, 0])
    visual.positional_embedding.copy_(trunk.pos_embed[0])
    pairs = [(visual.ln_post, trunk.norm)] + ([] if is_eva else [(visual.ln_pre, trunk.norm_pre)])
    for own, theirs in zip(visual.transformer.resblocks, trunk.blocks, strict=True):
        pairs += [(own.ln_1, theirs.norm1), (own.ln_2, theirs.norm2), (own.attn.out_proj, theirs.attn.proj)]
        pairs += [(own.mlp.c_fc, theirs.mlp.fc1), (own.mlp.c_proj, theirs.mlp.fc2)]
        own.attn.in_proj_weight.copy_(theirs.attn.qkv.weight)
        attn = theirs.attn
        own.attn.in_proj_bias.copy_(torch.cat([attn.q_bias, attn.k_bias, attn.v_bias]) if is_eva else attn.qkv.bias)
    for own, theirs in pairs:
        own.load_state_dict(theirs.state_dict())
    visual.proj.copy_(trunk.head.weight.T)
    return twin
