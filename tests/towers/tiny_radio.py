"""A tiny RADIO with random weights in NVIDIA's layout, and a tiny CLIP's file whose text tower reads its words."""

from argparse import Namespace
from pathlib import Path

import torch
from open_clip import create_model
from torch import Tensor

from sclip_seg.towers.radio import SHAPES, WORDS, Shape, Words

NAME, WIDTH, HEADS, DEPTH, PATCH, TABLE, JOINT = "tiny-radio", 32, 2, 2, 8, 6, 24
TEACHERS = ("clip", "siglip2", "sam")
PREFIX = 5  # three class tokens and two registers
SAM_WIDTH = 20


def linear(out: int, width: int, name: str, seed: torch.Generator, gain: float = 1.0) -> dict[str, Tensor]:
    weight = torch.randn(out, width, generator=seed) * gain * width**-0.5
    return {f"{name}.weight": weight, f"{name}.bias": 0.1 * torch.randn(out, generator=seed)}


def norm(width: int, name: str, seed: torch.Generator) -> dict[str, Tensor]:
    around = 1 + 0.1 * torch.randn(width, generator=seed)
    return {f"{name}.weight": around, f"{name}.bias": 0.1 * torch.randn(width, generator=seed)}


def v2(name: str, out: int, seed: torch.Generator, inner: int = 2, hidden: int = 28) -> dict[str, Tensor]:
    """An adaptor of the second kind."""
    state = linear(hidden, WIDTH, f"{name}.fc1", seed)
    for number in range(inner):
        state |= norm(hidden, f"{name}.blocks.{number}.0", seed)
        state |= linear(hidden, hidden, f"{name}.blocks.{number}.2", seed)
    return state | norm(hidden, f"{name}.final.0", seed) | linear(out, hidden, f"{name}.final.2", seed)


def v1(name: str, out: int, seed: torch.Generator, inner: int = 2, hidden: int = 28) -> dict[str, Tensor]:
    """One of the first kind."""
    state = linear(hidden, WIDTH, f"{name}.fc1", seed) | norm(hidden, f"{name}.norm", seed)
    for number in range(inner):
        state |= linear(hidden, hidden, f"{name}.inner.{3 * number}", seed)
        state |= norm(hidden, f"{name}.inner.{3 * number + 1}", seed)
    return state | linear(out, hidden, f"{name}.fc2", seed)


def trunk(root: str = "base_model.", scaled: bool = True) -> dict[str, Tensor]:
    """A ViT's weights by NVIDIA's names."""
    seed, generator = torch.Generator().manual_seed(0), f"{root}patch_generator."
    state = {
        f"{generator}embedder.weight": torch.randn(WIDTH, 3 * PATCH**2, generator=seed) * (3 * PATCH**2) ** -0.5,
        f"{generator}pos_embed": torch.randn(1, TABLE**2, WIDTH, generator=seed),
        f"{generator}cls_token.token": torch.randn(PREFIX, WIDTH, generator=seed),
    }
    for number in range(DEPTH):
        block = f"{root}blocks.{number}"
        state |= norm(WIDTH, f"{block}.norm1", seed) | norm(WIDTH, f"{block}.norm2", seed)
        state |= linear(3 * WIDTH, WIDTH, f"{block}.attn.qkv", seed, 1.5) | linear(
            WIDTH, WIDTH, f"{block}.attn.proj", seed
        )
        state |= linear(4 * WIDTH, WIDTH, f"{block}.mlp.fc1", seed) | linear(WIDTH, 4 * WIDTH, f"{block}.mlp.fc2", seed)
        if scaled:
            state |= {
                f"{block}.{name}.grandma": 0.5 + 0.1 * torch.randn(WIDTH, generator=seed) for name in ("ls1", "ls2")
            }
    return state


def checkpoint(adaptor=v2, named: bool = True, normalised: bool = False, **entry: object) -> dict:
    """What NVIDIA's file holds; `entry` changes the words' teacher, `named` keys of adaptors go by names or places."""
    seed = torch.Generator().manual_seed(1)
    teachers = [dict(name=name, type="generic", use_summary=name != "sam") for name in TEACHERS]
    teachers[1] |= entry
    state = trunk()
    for place, teacher in enumerate(teachers):
        key = teacher["name"] if named else place
        out = SAM_WIDTH if TEACHERS[place] == "sam" else JOINT
        state |= adaptor(f"_heads.{key}", out, seed) | adaptor(f"_feature_projections.{key}", out, seed)
    state |= {"input_conditioner.norm_mean": torch.tensor([0.4, 0.5, 0.6]).view(3, 1, 1)}
    state |= {"input_conditioner.norm_std": torch.tensor([0.2, 0.3, 0.25]).view(3, 1, 1)}
    if normalised:
        state["_feature_normalizer.mean"] = torch.randn(WIDTH, generator=seed)
        state["_feature_normalizer.tx"] = torch.randn(WIDTH, WIDTH, generator=seed) * WIDTH**-0.5
    return dict(args=Namespace(teachers=teachers, cpe_max_size=TABLE * PATCH), state_dict=state)


def known(words: str, folder: Path) -> None:
    """Makes the tower `NAME` known; its words are those of open_clip's model `words`, kept in a folder."""
    torch.manual_seed(3)
    torch.save(create_model(words).state_dict(), folder / "words.pt")
    SHAPES[NAME] = Shape(
        WIDTH,
        DEPTH,
        HEADS,
        layer_scale=True,
        patch=PATCH,
        table=TABLE,
        native=4,
        prefix=PREFIX,
        words=words,
    )
    WORDS[words] = Words(words, str(folder / "words.pt"))


def saved(folder: Path, content: dict | None = None, name: str = "radio.pth.tar") -> str:
    """The path of a file with that content."""
    torch.save(checkpoint() if content is None else content, folder / name)
    return str(folder / name)
