"""What goes with weights comes from what is known of them, and never from the name of a file or a folder."""

import hashlib
import json
import warnings
from pathlib import Path

import open_clip
import pytest
import torch
from conftest import TINY
from hypothesis import given
from hypothesis import strategies as st
from open_clip.pretrained import get_pretrained_cfg
from safetensors.torch import save_file
from weight_files import Archive

from sclip_seg.errors import InputError
from sclip_seg.towers import facts, snapshot, weights
from sclip_seg.towers.encoder import DenseCLIP

pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit")
TAIL = dict(type="LastBlock", attention="qk")
OPENAI = facts.STATISTICS["openai"]
HALF = [0.5, 0.5, 0.5]
# Names that used to be believed, of files and of folders.
NAMES = [
    "openai.safetensors",
    "MetaCLIP_b16.pt",
    "dfn2b.bin",
    "ours.openai.safetensors",
    "openai/a.safetensors",
    "dfn/a.pt",
]


@pytest.fixture(scope="module")
def state(register) -> dict:
    register("ours", TINY | {"quick_gelu": False})
    register("ours-quickgelu", TINY)
    return weights.build_clip("ours").state_dict()


def write(path: Path, state: dict) -> str:
    path.parent.mkdir(exist_ok=True, parents=True)
    save_file(state, path) if path.suffix == ".safetensors" else torch.save(state, path)
    return str(path)


def inputs(name: str | None, arch: str = "ours", **settings) -> tuple[str, str]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dense = DenseCLIP(arch, name, TAIL, **settings)
    assert dense.quick_gelu == dense.inputs.quick_gelu
    return dense.inputs.act, dense.inputs.pixels


def refusal(name: str, arch: str = "ours", **settings) -> str:
    with pytest.raises(InputError) as caught:
        inputs(name, arch, **settings)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture
def tags(monkeypatch):
    """Two tags of `ours`: one trained with each activation."""
    known = dict(
        quick=dict(quick_gelu=True, hf_hub="maker/quick/"),
        plain=dict(
            mean=tuple(HALF), std=tuple(HALF), hf_hub="maker/plain/", url="https://x/mlfoundations/plain-00000000.pt"
        ),
    )

    def config(arch, tag):
        return known.get(tag, {}) if arch.startswith("ours") else get_pretrained_cfg(arch, tag)

    for module in (weights, facts):
        monkeypatch.setattr(module, "get_pretrained_cfg", config)
    monkeypatch.setattr(facts, "list_pretrained", lambda: [("ours", "quick"), ("ours", "plain")])
    return known


@pytest.mark.parametrize("name", NAMES)
def test_the_name_of_a_file_or_folder_says_nothing(name, tmp_path, state, monkeypatch):
    path = write(tmp_path / name, state)
    monkeypatch.chdir(tmp_path)
    for place in (path, name):
        assert inputs(place) == ("gelu(default)", "openai(default)")
        assert inputs(place, "ours-quickgelu") == ("quickgelu(arch)", "openai(default)")
        assert inputs(place, quick_gelu=True) == ("quickgelu(set)", "openai(default)")
        assert inputs(place, "ours-quickgelu", quick_gelu=False)[0] == "gelu(set)"


def test_of_a_bare_file_one_line_says_what_is_assumed(tmp_path, state):
    path = write(tmp_path / "a.safetensors", state)
    with pytest.warns(UserWarning, match="does not say how") as told:
        DenseCLIP("ours", path, TAIL, mean=HALF, std=HALF)
    (line,) = [str(w.message) for w in told if path in str(w.message)]
    assert "\n" not in line
    assert all(part in line for part in ("gelu(default)", "inception(set)", "model.backbone.quick_gelu"))


def test_a_tag_decides_both_ways(tmp_path, state, tags):
    for tag in tags:
        write(tmp_path / f"ours.{tag}.safetensors", state)
    place = dict(folder=str(tmp_path))
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # nothing to be told: all is known
        dense = DenseCLIP("ours", "plain", TAIL, **place)
    assert (dense.inputs.act, dense.inputs.pixels, dense.mean) == ("gelu(tag)", "inception(tag)", tuple(HALF))
    assert inputs("quick", quick_gelu=True, **place) == ("quickgelu(tag)", "openai(tag)")
    assert "quick_gelu=True" in refusal("quick", **place)
    assert "quick_gelu=True" in refusal("quick", quick_gelu=False, **place)
    assert "quick_gelu=False" in refusal("plain", quick_gelu=True, **place)
    assert "quick_gelu=False" in refusal("plain", "ours-quickgelu", **place)
    assert "mean" in refusal("plain", mean=OPENAI[0], std=OPENAI[1], **place)
    assert inputs("plain", mean=HALF, std=HALF, **place)[1] == "inception(tag)"


def test_a_wrong_activation_is_refused_before_anything_is_fetched(tmp_path, state, tags, monkeypatch):
    monkeypatch.setattr(weights, "find", lambda *_: pytest.fail("weights were looked for"))
    assert "QuickGELU" in refusal("quick")


def test_a_file_or_folder_called_as_a_tag_is_not_the_tag(tmp_path, state, tags, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "data/weights/ours.plain.safetensors", state)
    (tmp_path / "plain").mkdir()
    assert inputs("plain") == ("gelu(tag)", "inception(tag)")
    assert "no weights under a known name" in refusal("./plain")


def test_the_digest_of_a_public_file_tells(tmp_path, state, tags):
    path = Path(write(tmp_path / "whatever.pt", state))
    tags["plain"]["url"] = f"https://x/plain-{hashlib.sha256(path.read_bytes()).hexdigest()[:8]}.pt"
    assert inputs(str(path)) == ("gelu(known file)", "inception(known file)")
    tags["quick"]["url"] = f"https://x/{hashlib.sha256(path.read_bytes()).hexdigest()}/quick.pt"
    assert inputs(str(path), quick_gelu=True)[0] == "quickgelu(known file)"
    assert "says the known file" in refusal(str(path))
    path.write_bytes(path.read_bytes() + b" ")
    assert inputs(str(path))[0] == "gelu(default)"


def test_openais_archives_are_known_by_their_address(tmp_path):
    """The SHA-256 is a part of it, on every open_clip that is admitted."""
    parts = [get_pretrained_cfg(arch, "openai")["url"].split("/")[-2] for arch in ("ViT-B-16", "ViT-B-32", "ViT-L-14")]
    assert all(len(part) == 64 and int(part, 16) for part in parts)


def test_an_archive_of_openais_is_openais_whatever_it_is_called(tmp_path, state, tags):
    path = tmp_path / "ours.plain.pt"
    torch.jit.trace(Archive(state), torch.zeros(1)).save(path)
    assert inputs(str(path), quick_gelu=True) == ("quickgelu(archive)", "openai(archive)")
    assert "quick_gelu=True" in refusal(str(path))
    assert "OpenAI's archives" in refusal("plain", folder=str(tmp_path))  # it lies where another's should


@pytest.mark.parametrize("quick", [True, False])
def test_open_clips_snapshot_says_it(quick, tmp_path, state):
    write(tmp_path / "s/open_clip_model.safetensors", state)
    content = {"model_cfg": {**TINY, "quick_gelu": quick}, "preprocess_cfg": {"mean": HALF, "std": HALF}}
    (tmp_path / "s/open_clip_config.json").write_text(json.dumps(content))
    for name in (tmp_path / "s", f"local-dir:{tmp_path / 's'}", tmp_path / "s/open_clip_model.safetensors"):
        assert inputs(str(name), quick_gelu=quick) == (f"{'quick' * quick}gelu(config)", "inception(config)")
        assert f"quick_gelu={quick}" in refusal(str(name), quick_gelu=not quick)
    # As the model's name: its activation is the config's, and nothing need be set.
    arch = f"local-dir:{tmp_path / 's'}"
    dense = DenseCLIP(arch, None, TAIL)
    assert open_clip.get_model_config(dense.arch)["embed_dim"] == 24
    assert (dense.quick_gelu, dense.inputs.pixels) == (quick, "inception(config)")
    assert "pretrained=None" in refusal("openai", arch)


@pytest.mark.parametrize("act", ["quick_gelu", "gelu", None, "relu"])
def test_transformers_snapshot_says_it(act, tmp_path):
    towers = {} if act is None else dict(vision_config={"hidden_act": act}, text_config={"hidden_act": act})
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "clip", **towers}))
    (tmp_path / "preprocessor_config.json").write_text(json.dumps({"image_mean": HALF, "image_std": HALF}))
    (tmp_path / "model.safetensors").touch()
    found = snapshot.config_beside(tmp_path / "model.safetensors")
    if act == "relu":
        with pytest.raises(InputError, match="relu"):
            facts.of_config(*found)
    else:
        assert facts.of_config(*found) == facts.Facts(act != "gelu", tuple(HALF), tuple(HALF), "config")


@pytest.mark.parametrize(
    "content",
    [
        '{"model_cfg": 1}',
        '{"model_cfg": {"quick_gelu": "yes"}}',
        "[]",
        "{",
        '{"model_cfg": {}, "preprocess_cfg": {"mean": [1], "std": [1]}}',
    ],
)
def test_a_config_that_says_nonsense_is_one_line(content, tmp_path, state):
    write(tmp_path / "s/open_clip_model.safetensors", state)
    (tmp_path / "s/open_clip_config.json").write_text(content)
    assert "open_clip_config.json" in refusal(str(tmp_path / "s"))


NUMBERS = st.one_of(st.floats(), st.integers(-3, 3), st.none(), st.text(max_size=3), st.booleans())


@given(values=st.one_of(NUMBERS, st.lists(NUMBERS, max_size=4)), name=st.sampled_from(["mean", "std"]))
def test_statistics_are_three_numbers(values, name):
    try:
        found = facts.triple(values, name)
    except InputError as error:
        assert name in str(error)  # noqa: PT017
        return
    assert len(found) == 3
    assert all(abs(v) < float("inf") for v in found)
    assert name == "mean" or min(found) > 0


@pytest.mark.parametrize(
    "settings", [dict(quick_gelu="yes"), dict(quick_gelu=1), dict(mean=HALF), dict(std=HALF)], ids=str
)
def test_half_a_setting_is_refused(settings):
    assert refusal(None, **settings)


@pytest.mark.parametrize("name", [3, True, ["a"], Path("x")], ids=str)
def test_names_of_the_wrong_kind_are_refused(name):
    assert refusal(name)
    assert refusal(None, arch=name)


def test_the_table_agrees_with_what_open_clip_says_from_3_on(monkeypatch):
    if "quick_gelu" not in get_pretrained_cfg("ViT-B-16", "openai"):
        pytest.skip("this open_clip does not say it")
    said = {pair: get_pretrained_cfg(*pair).get("quick_gelu", False) for pair in open_clip.list_pretrained()}
    silent = {pair: {**get_pretrained_cfg(*pair)} for pair in said}
    for config in silent.values():
        config.pop("quick_gelu", None)
    monkeypatch.setattr(facts, "get_pretrained_cfg", lambda arch, tag: silent.get((arch, tag), {}))
    assert {pair: facts.of_name(*pair).quick_gelu for pair in said} == said
    assert len(set(said.values())) == 2
