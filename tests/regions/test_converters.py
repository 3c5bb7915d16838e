"""zsseg's and SCAN's published files, made from random networks and converted back: equal outputs, no tensor left."""

import numpy as np
import pytest
import torch
from torch import nn

hf = pytest.importorskip("transformers", reason="networks that find masks need transformers: pip install .[regions]")

import published_layout as layout  # noqa: E402

from sclip_seg.errors import InputError  # noqa: E402
from sclip_seg.evaluate import convert_scan_command, convert_zsseg_command  # noqa: E402
from sclip_seg.regions.head import ProposalHead  # noqa: E402
from sclip_seg.regions.integration import SemanticIntegration  # noqa: E402
from sclip_seg.registry import REGIONS  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")
WIDTH = 24
KINDS = {"zsseg": ("maskformer", convert_zsseg_command), "scan": ("mask2former", convert_scan_command)}


def saved(state: dict, path) -> str:
    """As detectron2's checkpointer does."""
    torch.save({"model": state, "optimizer": {"state": {}}, "iteration": 1}, path)
    return str(path)


def integration() -> SemanticIntegration:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(4)
        return SemanticIntegration(48, WIDTH, layers=3, encoders=2, forward=40).eval()


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """`made(kind)`: the stock network, the published tensors and the folder that they were converted into."""
    known = {}

    def make(kind: str):
        if kind not in known:
            place = tmp_path_factory.mktemp(kind)
            stock = getattr(layout, KINDS[kind][0])()
            if kind == "zsseg":
                state = layout.zsseg(stock, WIDTH)
            else:
                clip = {"visual.proj": torch.ones(48, WIDTH), "text_projection": torch.ones(4, WIDTH)}
                state = layout.scan(stock, clip, integration().state_dict(), WIDTH)
            convert = KINDS[kind][1].main
            assert (
                convert([saved(state, place / "published.pth"), "--out", str(place / "made"), "--short-side", "40"])
                == 0
            )
            known[kind] = stock, state, place / "made"
        return known[kind]

    return make


def picture(height: int = 40, width: int = 52) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3)).astype(np.uint8)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_converted_sees_what_the_stock_network_sees(kind, made):
    """Padded to multiples of 32, masks enlarged to that and cut, the queries as they stand before the class layers."""
    stock, _, folder = made(kind)
    source = REGIONS.build(dict(type=KINDS[kind][0], checkpoint=str(folder), form="soft", folder=None))
    found = source(picture())
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    image = (torch.from_numpy(picture()).permute(2, 0, 1) / 255 - mean) / std
    with torch.no_grad():
        seen = stock(nn.functional.pad(image, (0, 12, 0, 24))[None])
    masks = nn.functional.interpolate(seen.masks_queries_logits, (64, 64), mode="bilinear")[0, :, :40, :52]
    assert masks.std() > 1e-3
    torch.testing.assert_close(found.logits, masks, atol=2e-4 * float(masks.abs().max()), rtol=0)
    states = seen.transformer_decoder_last_hidden_state[0]
    if kind == "scan":
        states = stock.model.transformer_module.decoder.layernorm(states)
    torch.testing.assert_close(found.embeddings, states, atol=1e-4, rtol=0)
    assert found.objectness.tolist() == [1.0] * found.count  # what there is, the head says


@pytest.mark.parametrize("kind", KINDS)
def test_the_head_lies_beside_it(kind, made):
    _, state, folder = made(kind)
    head = ProposalHead.load(folder / "head.safetensors")
    layers = nn.Sequential(nn.Linear(64 if kind == "zsseg" else 32, 40), nn.ReLU(), nn.Linear(40, WIDTH))
    stem = "sem_seg_head.predictor.class_embed.layers."
    layers.load_state_dict(
        {name.removeprefix(stem).replace("1.", "2."): tensor for name, tensor in state.items() if name.startswith(stem)}
    )
    x = torch.randn(5, layers[0].in_features)
    torch.testing.assert_close(head.embedded(x), layers(x))
    assert torch.equal(head.void, state["clip_adapter.non_object_embedding"][0])


def test_what_else_the_files_hold(made):
    _, _, folder = made("zsseg")
    assert sorted(path.name for path in folder.glob("*.safetensors")) == [
        "head.safetensors",
        "model.safetensors",
        "prompt.safetensors",
    ]
    _, state, folder = made("scan")
    found = SemanticIntegration.load(folder / "integration.safetensors")
    for name, tensor in integration().state_dict().items():
        assert torch.equal(found.state_dict()[name], tensor)
    from safetensors.torch import load_file

    clip, original = (load_file(folder / f"{name}.safetensors") for name in ("clip", "original"))
    assert clip.keys() == original.keys()
    assert torch.equal(original["visual.proj"], state["clip_adapter.original_clip.proj"])
    assert torch.equal(original["text_projection"], clip["text_projection"])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("wrong", ["missing", "extra", "shape"])
def test_each_tensor_is_accounted_for(kind, wrong, made, tmp_path, capsys):
    _, state, _ = made(kind)
    state, name = dict(state), "sem_seg_head.pixel_decoder.layer_1.norm.bias"
    if wrong == "missing":
        state.pop(name)
    else:
        state[name if wrong == "shape" else "sem_seg_head.pixel_decoder.layer_9.weight"] = torch.ones(3)
    assert KINDS[kind][1].main([saved(state, tmp_path / "file.pth"), "--out", str(tmp_path / "out")]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert {"missing": "1 tensors are missing", "extra": "layer_9.weight", "shape": "of another shape"}[wrong] in said
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_of_something_else(kind, tmp_path, capsys):
    assert KINDS[kind][1].main([saved({"a": torch.ones(2)}, tmp_path / "a.pth"), "--out", str(tmp_path / "out")]) == 2
    assert "has 1 tensors too many, e.g. a" in capsys.readouterr().err


@pytest.mark.parametrize("change", ["lacks", "has what it should not", "no semantic integration"])
def test_an_integration_that_does_not_fit(change):
    state = dict(integration().state_dict())
    if change == "lacks":
        state.pop("LFM.conv2.bias")
    elif change == "no semantic integration":
        state["weight"] = torch.ones(2)
    else:
        state["LFM.conv3.bias"] = torch.ones(2)
    with pytest.raises(InputError, match=change):
        SemanticIntegration.of(state)
