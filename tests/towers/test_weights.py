"""From a tag or a file to loaded weights, and what is said when that cannot be."""

import inspect
from pathlib import Path

import open_clip
import pytest
import torch
from conftest import TINY
from open_clip.pretrained import get_pretrained_cfg
from safetensors.torch import load_file, save_file
from torch import Tensor
from weight_files import Archive

from sclip_seg.errors import InputError
from sclip_seg.towers import checkpoint, facts, snapshot, weights
from sclip_seg.towers.encoder import DenseCLIP

pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit")  # deprecated, and what OpenAI's files are
TAIL = dict(type="LastBlock", attention="qk")


@pytest.fixture(scope="session")
def donor(build_dense) -> DenseCLIP:
    """The tower whose weights the files below hold."""
    return build_dense(TAIL)


@pytest.fixture
def state(donor) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in donor.clip.state_dict().items()}


@pytest.fixture(scope="session")
def tiny_gelu(register) -> str:
    """The tiny tower without QuickGELU in its config."""
    return register("tiny_gelu", TINY | {"quick_gelu": False})


def save(kind: str, folder: Path, state: dict[str, Tensor]) -> Path:
    """Writes a weights file of one of the kinds that are read."""
    path = folder / f"some.{'safetensors' if kind == 'safetensors' else 'pt'}"
    if kind == "safetensors":
        save_file(state, path)
    elif kind == "archive":
        torch.jit.trace(Archive(state), torch.zeros(1)).save(path)
    elif kind == "checkpoint":
        torch.save({"epoch": 3, "state_dict": {f"module.{name}": tensor for name, tensor in state.items()}}, path)
    else:
        torch.save(state, path)
    return path


@pytest.mark.parametrize("kind", ["safetensors", "state dict", "checkpoint", "archive"])
def test_every_kind_of_file_gives_the_same_weights(kind, tmp_path, tiny, donor, state, pictures):
    dense = DenseCLIP(tiny, str(save(kind, tmp_path, state)), TAIL, seed=9)
    assert dense.digest == donor.digest
    image = pictures(1, 32, 40)
    assert torch.equal(dense(image), donor(image))


def test_half_precision_files_are_read_into_fp32(tmp_path, tiny, state):
    half = {name: tensor.half() for name, tensor in state.items()}
    dense = DenseCLIP(tiny, str(save("archive", tmp_path, half)), TAIL)
    loaded = dense.clip.state_dict()
    assert {tensor.dtype for tensor in loaded.values()} == {torch.float32}
    assert all(torch.equal(loaded[name], tensor.float()) for name, tensor in half.items())


def test_a_logit_scale_of_one_entry_is_read(tmp_path, tiny, donor, state):
    state["logit_scale"] = state["logit_scale"].reshape(1)
    assert DenseCLIP(tiny, str(save("safetensors", tmp_path, state)), TAIL).digest == donor.digest


def test_only_torchscript_archives_are_taken_for_openais(tmp_path, state):
    kinds = {}
    for kind in ("safetensors", "state dict", "archive"):
        (tmp_path / kind).mkdir()
        kinds[kind] = checkpoint.read(save(kind, tmp_path / kind, state)).openai
    assert kinds == {"safetensors": False, "state dict": False, "archive": True}


def test_what_does_not_fit_is_named(tmp_path, tiny, state):
    state["visual.proj"] = torch.zeros(64, 25)
    state["surplus.weight"] = torch.zeros(2)
    del state["ln_final.weight"], state["ln_final.bias"]
    path = save("safetensors", tmp_path, state)
    with pytest.raises(InputError) as error:
        DenseCLIP(tiny, str(path), TAIL)
    for part in (str(path), "2 missing, e.g. ln_final.bias", "1 unknown, e.g. surplus.weight", "visual.proj", tiny):
        assert part in str(error.value)


@pytest.mark.parametrize("name", ["noise.pt", "noise.safetensors", "cut.pt", "list.pt", "numbers.pt"])
def test_a_file_that_is_no_weights_file_is_named(name, tmp_path, tiny, state):
    path = tmp_path / name
    if name.startswith("noise"):
        path.write_bytes(bytes(range(256)) * 4)
    elif name == "cut.pt":
        torch.save(state, path)
        path.write_bytes(path.read_bytes()[:2000])
    else:
        torch.save([1, 2] if name == "list.pt" else {"epoch": 3}, path)
    with pytest.raises(InputError) as error:
        DenseCLIP(tiny, str(path), TAIL)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_pickle_that_runs_code_is_refused(tmp_path, tiny):
    class Trap:
        def __reduce__(self):
            return Path.touch, (tmp_path / "sprung",)

    torch.save({"weight": Trap()}, tmp_path / "trap.pt")
    with pytest.raises(InputError, match=r"trap\.pt"):
        DenseCLIP(tiny, str(tmp_path / "trap.pt"), TAIL)
    assert not (tmp_path / "sprung").exists()


def test_a_file_that_is_not_there_is_named(tmp_path, tiny):
    with pytest.raises(InputError, match=r"nowhere\.safetensors"):
        DenseCLIP(tiny, str(tmp_path / "nowhere.safetensors"), TAIL)


@pytest.mark.parametrize("suffix", [".safetensors", ".pt", ".bin", ".pth"])
def test_a_tag_is_looked_for_in_the_folder_first(suffix, tmp_path, monkeypatch):
    def refuse(source):
        raise AssertionError("a download was tried")

    monkeypatch.setattr(weights, "download_pretrained", refuse)
    path = tmp_path / f"ViT-B-16.openai{suffix}"
    path.touch()
    assert weights.find("ViT-B-16", "openai", str(tmp_path)) == path
    with pytest.raises(InputError):
        weights.find("ViT-B-32", "openai", str(tmp_path))


def test_a_tag_that_is_not_in_the_folder_is_downloaded(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(snapshot, "try_to_load_from_cache", lambda model, name, revision: None)
    monkeypatch.setattr(weights, "_reachable", lambda source: True)
    monkeypatch.setattr(weights, "download_pretrained", lambda source: asked.append(source) or str(tmp_path / "got"))
    assert weights.find("ViT-B-16", "laion2b_s34b_b88k", str(tmp_path)) == tmp_path / "got"
    assert asked == [get_pretrained_cfg("ViT-B-16", "laion2b_s34b_b88k")]


def test_what_the_hub_keeps_is_used_without_asking_the_network(tmp_path, monkeypatch):
    kept = {"open_clip_pytorch_model.bin": str(tmp_path / "kept.bin")}
    monkeypatch.setattr(snapshot, "try_to_load_from_cache", lambda model, name, revision: kept.get(name))
    monkeypatch.setattr(weights, "_reachable", lambda source: pytest.fail("the network was asked"))
    assert weights.find("ViT-B-16", "laion2b_s34b_b88k", str(tmp_path)) == tmp_path / "kept.bin"


@pytest.mark.parametrize("reachable", [True, False])
@pytest.mark.parametrize(("arch", "tag"), [("ViT-B-16", "laion2b_s34b_b88k"), ("ViT-L-14", "openai")])
def test_offline_the_error_says_what_to_fetch_and_where_to_put_it(arch, tag, reachable, tmp_path, monkeypatch):
    def refuse(source):
        raise OSError("no network")

    monkeypatch.setattr(snapshot, "try_to_load_from_cache", lambda model, name, revision: None)
    monkeypatch.setattr(weights, "_reachable", lambda source: reachable)
    monkeypatch.setattr(weights, "download_pretrained", refuse)
    with pytest.raises(InputError) as error:
        weights.find(arch, tag, str(tmp_path))
    source = get_pretrained_cfg(arch, tag)
    places = [source[key].rstrip("/") for key in ("url", "hf_hub") if source.get(key)]
    assert places
    for part in (*places, str(tmp_path / f"{arch}.{tag}.safetensors"), tag):
        assert part in str(error.value)


def test_an_unknown_tag_lists_the_tags(tmp_path):
    with pytest.raises(InputError, match=r"'opanai'.*openai.*laion2b_s34b_b88k"):
        weights.find("ViT-B-16", "opanai", str(tmp_path))


def test_an_unknown_arch_is_named():
    with pytest.raises(InputError, match="'ViT-B-17'"):
        DenseCLIP("ViT-B-17", None, TAIL)


def test_openais_archives_without_quickgelu_are_refused(tmp_path, tiny_gelu, donor, state):
    path = save("archive", tmp_path, state)
    with pytest.raises(InputError, match="quick_gelu=True"):
        DenseCLIP(tiny_gelu, str(path), TAIL)
    dense = DenseCLIP(tiny_gelu, str(path), TAIL, quick_gelu=True)
    assert dense.quick_gelu
    assert dense.digest == donor.digest


def test_other_weights_without_quickgelu_are_taken(tmp_path, tiny_gelu, donor, state, pictures):
    dense = DenseCLIP(tiny_gelu, str(save("safetensors", tmp_path, state)), TAIL)
    assert not dense.quick_gelu
    assert not torch.allclose(dense(pictures(1, 32, 32)), donor(pictures(1, 32, 32)), atol=1e-3)


def test_a_tags_own_settings_are_followed(tmp_path, tiny_gelu, state, monkeypatch):
    source = dict(quick_gelu=True, mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.6))
    for module in (weights, facts):
        monkeypatch.setattr(module, "get_pretrained_cfg", lambda arch, tag: source if tag == "made" else {})
    path = save("safetensors", tmp_path, state).rename(tmp_path / f"{tiny_gelu}.made.safetensors")
    with pytest.raises(InputError, match="QuickGELU"):
        DenseCLIP(tiny_gelu, "made", TAIL, folder=str(tmp_path))
    dense = DenseCLIP(tiny_gelu, "made", TAIL, folder=str(tmp_path), quick_gelu=True)
    assert (dense.mean, dense.std) == (source["mean"], source["std"])
    bare = DenseCLIP(tiny_gelu, str(path), TAIL, folder=str(tmp_path))  # the same file by its path: nothing is known
    assert (bare.inputs.act, bare.inputs.pixels) == ("gelu(default)", "openai(default)")


def test_clips_own_pixel_statistics_are_the_default(donor):
    assert donor.mean == (0.48145466, 0.4578275, 0.40821073)
    assert donor.std == (0.26862954, 0.26130258, 0.27577711)


@pytest.mark.parametrize(
    "vision",
    [
        {"image_size": 32, "layers": [1, 1, 1, 1], "width": 32, "patch_size": None},
        {"image_size": 32, "layers": 1, "width": 64, "head_width": 32, "patch_size": 16, "attentional_pool": "cascade"},
        {"image_size": 32, "timm_model_name": "resnet18", "timm_pool": "avg", "timm_proj": "linear"},
        {"image_size": 224, "timm_model_name": "vit_small_patch16_rope_mixed_224", "timm_proj": "linear"},
        {"image_size": 224, "timm_model_name": "vit_tiny_patch16_224", "timm_pool": "max", "timm_proj": "linear"},
        {"image_size": 32, "layers": 1, "width": 64, "head_width": 32, "patch_size": 16, "qk_norm": True},
    ],
    ids=["resnet", "two attentional pools", "timm", "positions of another kind", "pool", "blocks of another kind"],
)
def test_towers_that_the_methods_cannot_read_are_refused(vision, register):
    if "qk_norm" in vision and "qk_norm" not in inspect.signature(open_clip.CLIPVisionCfg).parameters:
        pytest.skip("this open_clip has no such blocks")
    text = TINY["text_cfg"] | {"layers": 1, "context_length": 8}
    name = register("tiny_other", {"embed_dim": 24, "vision_cfg": vision, "text_cfg": text})
    with pytest.raises(InputError, match="tiny_other"):
        DenseCLIP(name, None, TAIL)


def test_a_loaded_file_is_left_as_it_is(tmp_path, tiny, state):
    path = save("safetensors", tmp_path, state)
    before = path.read_bytes()
    dense = DenseCLIP(tiny, str(path), TAIL)
    dense.set_precision("bf16")
    assert path.read_bytes() == before
    assert set(load_file(path)) == set(dense.clip.state_dict())
