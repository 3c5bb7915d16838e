"""Tiny timm models with random weights that show, and the last block's attention by hand."""

from pathlib import Path

import numpy as np
import timm
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

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
            parameter.copy_(noise / parameter[0].numel() ** 0.5)
    return model


def create(arch: str, **options) -> nn.Module:
    return timm.create_model(arch, pretrained=False, **options).eval().requires_grad_(False)


def stock(name: str, **others) -> nn.Module:
    """timm's own model of that name: with our weights, or with other options and fresh ones."""
    arch, options = VITS.get(name, (SAM, SAM_TINY))
    return stirred(create(arch, **options)) if not others else create(arch, **options | others)


def write(name: str, folder: Path) -> str:
    """Path of a file with that model's weights."""
    path = folder / f"{name}.safetensors"
    save_file(stock(name).state_dict(), path)
    return str(path)


def normalised(image: Tensor, name: str) -> Tensor:
    mean, std = (torch.tensor(numbers).view(3, 1, 1) for numbers in STATISTICS.get(name, IMAGENET))
    return (image - mean) / std


def rgb(count: int, height: int, width: int, seed: int = 0) -> Tensor:
    """Random pictures (count, 3, height, width) of whole 8-bit values, in [0, 1]."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, 3, height, width), generator=generator) / 255


def assert_close(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


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
