"""Every cell of method, dataset and backbone: loads, resolves, builds, dumps, and holds the published numbers."""

from functools import cache
from pathlib import Path

import mmengine.registry
import mmseg.registry
import open_clip
import pytest
from conftest import TINY
from mmengine.config import Config
from mmengine.registry import Registry
from mmseg.registry import DATASETS, MODELS
from open_clip.pretrained import get_pretrained_cfg, list_pretrained_tags_by_model
from protocols import AUXILIARY, LONG_SIDE, METHODS, PUBLISHED, SYMMETRIC, TUNED, WITH_BACKGROUND
from protocols_stages import STAGES, TOWERS
from runs import cell
from tiny_cells import with_tiny_guides
from trees import cells

from sclip_seg import registry
from sclip_seg.config import choices
from sclip_seg.towers.encoder import DenseCLIP
from sclip_seg.towers.guide import Guide
from sclip_seg.towers.radio import SHAPES
from sclip_seg.towers.weights import SHIPPED
from sclip_seg.words.vocabulary import Vocabulary

pytestmark = pytest.mark.filterwarnings("ignore:vocabulary coco_object:UserWarning")  # its "bed"
CONFIGS = Path(__file__).parents[1] / "configs"
AXES = choices(CONFIGS)
DEEP = TINY | {"vision_cfg": TINY["vision_cfg"] | {"layers": 12}}  # as deep as what methods are written for
CELLS = cells(AXES["method"], AXES["dataset"])
REGISTRIES = [
    shelf
    for module in (registry, mmseg.registry, mmengine.registry)
    for shelf in vars(module).values()
    if isinstance(shelf, Registry)
]
PARTS, IN_USE = registry.Parts(), set()  # the towers of these tests, each built once
PUBLISHED_CELLS = [(method, dataset) for method, rows in PUBLISHED.items() for dataset in rows]


@cache
def loaded(method, dataset):
    """A cell's config, which nobody changes."""
    return cell(method, dataset)


@cache
def base(folder, name):
    return Config.fromfile(CONFIGS / "_base_" / folder / f"{name}.py").to_dict()


@cache
def is_registered(kind):
    """A shelf that has not the name looks for a module of that name everywhere, which takes long."""
    return any(kind in shelf.module_dict or shelf.get(kind) for shelf in REGISTRIES)


def types_in(node):
    """Every value of a key `type`, at any depth."""
    if isinstance(node, dict):
        yield from (value for key, value in node.items() if key == "type")
        node = list(node.values())
    if isinstance(node, list | tuple):
        for child in node:
            yield from types_in(child)


@pytest.mark.parametrize(("method", "dataset"), CELLS)
def test_cell_loads(method, dataset):
    """With a backbone of its own; SCLIP's and VOC21's with every fifth, and those that configs ask about."""
    turn = CELLS.index((method, dataset))
    backbones = AXES["backbone"][turn % 7 :: 7][:1]
    if method == "sclip" or dataset == "voc21":
        backbones = {"openai_vit_l14", "toy", *AXES["backbone"][turn % 5 :: 5]}
    for backbone in backbones:
        config = cell(method, dataset, backbone)
        assert config.axes == dict(method=method, dataset=dataset, backbone=backbone)
        tower, data = base("backbones", backbone)["model"]["backbone"], base("datasets", dataset)["dataset"]
        assert tower == {key: config.model.backbone[key] for key in tower}
        if (method, dataset) != ("cliptrase", "coco_object"):  # read from COCO-Stuff's labels there
            assert data == {key: config.test_dataloader.dataset[key] for key in data}


@pytest.mark.parametrize(("method", "dataset"), CELLS)
def test_cell_resolves_dumps_and_builds(method, dataset, register, tmp_path):
    config = loaded(method, dataset)
    found = list(types_in(config.to_dict()))
    assert {"DenseCLIP", "OpenVocabSegmentor", config.dataset.type} <= set(found)
    assert not [kind for kind in found if not is_registered(kind)]

    if method == "sclip" or dataset == "voc21":  # which takes longer than all else
        config.dump(tmp_path / "dumped.py")
        assert "SCLIP_" not in (tmp_path / "dumped.py").read_text()
        assert Config.fromfile(tmp_path / "dumped.py").to_dict() == config.to_dict()

    settings = with_tiny_guides(config.model.to_dict())
    arch = register("tiny_deep", DEEP)
    with registry.one_of_each(PARTS):
        model = MODELS.build(settings | {"backbone": settings["backbone"] | dict(arch=arch, pretrained=None)})
    IN_USE.update([model.backbone.frozen, *(module for module in model.modules() if isinstance(module, Guide))])
    data = config.test_dataloader.dataset
    classes = DATASETS.get(data.type).METAINFO.get("classes") or Vocabulary.load(data.vocabulary)
    assert model.labelling.classes == len(model.vocabulary) == len(classes)
    assert (model.window["crop"], model.window["batch"]) == (
        config.model.window.crop,
        dict(itaclip=4, cliper=4, proxyclip=8, fsa=8, trident=8, gla_clip=8, corrclip=8, corrclip_v2=8).get(method, 16),
    )


@pytest.mark.parametrize(("method", "dataset"), PUBLISHED_CELLS)
def test_published_numbers(method, dataset):
    model = loaded(method, dataset).model
    vocabulary = Vocabulary.load(model.vocabulary)
    found = (
        model.short_side,
        model.window.crop,
        model.window.crop and model.window.stride,
        model.logit_scale,
        model.get("background_threshold", 0),
        model.get("min_area", 0),
        len(vocabulary.queries),
        model.vocabulary,
    )
    assert found == PUBLISHED[method][dataset]
    assert model.get("long_side", 2048) == LONG_SIDE.get((method, dataset), 2048)
    assert model.background == (0 if dataset in WITH_BACKGROUND else None)
    assert model.window.get("padding", "stretch") == ("symmetric" if method in SYMMETRIC else "stretch")


@pytest.mark.parametrize("method", AXES["method"])
def test_what_a_method_is(method):
    tail, templates, refine, positions = METHODS[method]
    config = cell(method)
    model = config.model.to_dict()
    assert config.axes.backbone == TOWERS.get(method, "openai_vit_b16")
    assert tail.items() <= model["backbone"]["tail"].items()
    assert model.get("templates", "imagenet80") == templates
    assert model.get("stages", []) == STAGES.get(method, [])
    steps = [step for step in model.get("refine", []) if step == "ClassMaximum" or step["type"] != "SAMRefinement"]
    assert steps == refine
    assert model["backbone"].get("positions", "sclip") == positions


@pytest.mark.parametrize(("method", "dataset"), [(m, d) for m, rows in TUNED.items() for d in rows])
def test_what_a_method_tunes(method, dataset):
    model = cell(method, dataset).model
    assert TUNED[method][dataset].items() <= model.backbone.tail.to_dict().items()
    assert model.get("auxiliary") == (AUXILIARY.get(dataset) if method == "itaclip" else None)


def test_blocks_are_those_of_the_tower():
    assert cell("resclip", None, "openai_vit_l14").model.backbone.tail.tower is None  # 6 to 9 of 24, as released
    assert cell("resclip", None, "toy").model.backbone.tail.tower == 12
    large = cell("scclip", "voc21", "openai_vit_l14").model
    tail = large.backbone.tail
    assert (tail.mid, tail.post, tail.fused, tail.tower) == (17, 7, tuple(range(9, 20)), 24)
    assert (tail.class_weight, large.logit_scale, large.background_threshold) == (0.1, 40, 0.2)
    assert cell("scclip", "voc20", "openai_vit_l14").model.logit_scale == 40
    large = cell("sfp", "voc21", "openai_vit_l14").model
    tail = large.backbone.tail
    assert (tail.mid, tail.post, tail.fused, tail.tower) == (9, 4, tuple(range(4, 11)), None)  # as released
    assert (tail.class_weight, large.logit_scale, large.background_threshold) == (0.3, 50, 0.2)
    assert cell("sfp", None, "toy").model.backbone.tail.tower == 12
    tail = cell("dih_clip", None, "openai_vit_l14").model.backbone.tail
    assert (tail.mid, tail.post, tail.tower, tail.class_weight, tail.heads) == (17, 7, 24, 0.1, 4)


def test_cliptrase_counts_as_released():
    """The unlabelled border of VOC is background, COCO-Object is made of COCO-Stuff's labels."""
    steps = {step.type: step for step in cell("cliptrase").test_dataloader.dataset.pipeline}
    assert steps["CentreCrop"].size == 336
    assert [tuple(pair) for pair in steps["Relabel"].mapping] == [(255, 0)]
    dataset = cell("cliptrase", "coco_object").test_dataloader.dataset
    mapping = dict(next(step for step in dataset.pipeline if step.type == "Relabel").mapping)
    assert (mapping[0], mapping[79], mapping[80], mapping[81], mapping[170], mapping[255]) == (1, 80, 0, 255, 255, 0)
    assert (dataset.data_root, dataset.seg_map_suffix) == ("data/coco_stuff164k", "_labelTrainIds.png")


@pytest.mark.parametrize("name", AXES["backbone"])
def test_backbone_is_known_to_open_clip(name):
    settings = base("backbones", name)["model"]["backbone"]
    arch, tag = settings["arch"], settings["pretrained"]
    if tag is None:  # a repository, whose config says the rest
        assert (arch[:7], settings["quick_gelu"]) == ("hf-hub:", "known")
        return
    assert arch in (SHAPES if name.startswith("radio") else open_clip.list_models())
    if tag.startswith("data/weights/"):  # a file, of which nobody knows more than its config here says
        said = (CONFIGS / "_base_" / "backbones" / f"{name}.py").read_text()
        assert all(word in said for word in ("arXiv", "GELU", "pixel", "github" if "sky" in name else "huggingface"))
        assert ("QuickGELU" in said) is settings["quick_gelu"]
        return
    if tag not in SHIPPED:
        assert tag in list_pretrained_tags_by_model(arch)
        quick = tag.split("_")[0] in ("openai", "metaclip", "metaclip2", "dfn2b", "dfn5b")
        assert settings.get("quick_gelu", False) == quick
        assert get_pretrained_cfg(arch, tag).get("quick_gelu", quick) == quick  # open_clip says so from 3.0 on


def test_issue_names_are_all_there():
    assert {"clip", "maskclip", "sclip", "clearclip", "naclip"} <= set(AXES["method"])
    assert {"openai_vit_b16", "openai_vit_b32", "openai_vit_l14", "openai_vit_l14_336"} <= set(AXES["backbone"])
    assert {"laion2b_vit_b16", "laion2b_vit_l14", "laion2b_vit_h14"} <= set(AXES["backbone"])
    assert {"metaclip_vit_b16", "metaclip_vit_l14", "dfn_vit_b16"} <= set(AXES["backbone"])


def test_docstring_of_a_method_file_names_its_paper():
    for method in AXES["method"]:
        assert "arXiv" in (CONFIGS / f"{method}.py").read_text().split('"""')[1]
    assert DenseCLIP is MODELS.get("DenseCLIP")
