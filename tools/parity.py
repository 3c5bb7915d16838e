"""Hold our methods against what the official codes compute on tiny weights.

    python tools/parity.py DIR [--device cuda]

DIR holds `recipe.py` (weights and inputs) and the reference outputs
`visual_*.npz`, `e2e_*_voc21.npz`, `openai_pooled_text.npz`. One line per case
with the largest difference; exit status 1 beyond a tolerance. On a GPU, in
fp32 with TF32 off, the tolerances are wider (`ON_A_GPU`).
"""

import signal

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C while the libraries load; then `run` takes over

import importlib.util
import json
import sys
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
import open_clip
import torch
import torch.nn.functional as F
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from parity_guided import guided_cases
from parity_parts import Outcome, Placed, gap, part_cases

from sclip_seg.command import Parser, run
from sclip_seg.config import CONFIGS, load_config
from sclip_seg.errors import InputError
from sclip_seg.picture.scores import DenseMaps, StitchedMaps
from sclip_seg.picture.segmentor import OpenVocabSegmentor
from sclip_seg.towers.encoder import DenseCLIP
from sclip_seg.words.text import TextBank, encode_prompts

FEATURES, PROBES, TEXT, MAPS = 2e-5, 5e-5, 2e-5, 2e-5  # fp32, CPU; see DIR/README.md
# Where a drawing is flat, PAMR divides rounding by rounding: 2e-3 of the maps even between one thread and two on a CPU.
FLAT = 5e-4  # of maps after it, on a GPU, before `ON_A_GPU`
ON_A_GPU = 10  # sums in another order, and fused attention that multiplies in three TF32 parts
CLOSE = 2e-4  # two best scores this close to each other (relative) may change places


def last_block(attention: str | dict, residual: bool = True, mlp: bool = True) -> dict:
    return dict(type="LastBlock", attention=attention, residual=residual, mlp=mlp)


@dataclass(frozen=True)
class Case:
    """A tail, and the file and key under which the reference has its unit patch features."""

    file: str
    tail: dict
    key: str = ""
    sizes: tuple[str, ...] = ("square", "wide")
    positions: str = "sclip"


SQUARE = ("square",)
RESCLIP = dict(type="ResCLIP", rcs=0.3, rcs_scale=2.0, sfr=None)
VOC21 = RESCLIP | dict(sfr=0.7, sfr_scale=2.2, threshold=0.5)
CONTEXT60 = RESCLIP | dict(sfr=0.7, sfr_scale=1.8, threshold=0.3)
OTHER_LAYERS = dict(mid=7, post=3, fused=(6, 7, 8, 9), class_weight=0.1)
CASES = [
    Case("vanilla", last_block("qk")),
    Case("vanilla_openclip", last_block("qk")),
    Case("vanilla_reduced", last_block("qk", False, False)),
    Case("maskclip_full", dict(type="MaskCLIP")),
    Case("maskclip_reduced", dict(type="MaskCLIP", residual=False, mlp=False)),
    Case("sclip", last_block("csa")),
    Case("sclip_reduced", last_block("csa", False, False)),
    Case("clearclip", last_block("qq", False, False)),
    Case("clearclip_full", last_block("qq")),
    Case("naclip", last_block("naclip", False, False)),
    Case("naclip_full", last_block("naclip")),
    Case("naclip_kk", last_block("kk", False, False)),
    Case("naclip_nonly", last_block("nonly", False, False)),
    Case("naclip_qk_reduced", last_block("qk", False, False)),
    Case("surgery", dict(type="CLIPSurgery"), sizes=SQUARE, positions="surgery"),
    Case("gem_iter1", dict(type="GEM"), positions="gem"),
    Case("gem_iter1", last_block("qk"), "original_path.", positions="gem"),
    Case("gem_iter2", dict(type="GEM", iterations=2), positions="gem"),
    Case("gem_iter3", dict(type="GEM", iterations=3), positions="gem"),
    Case("gem_depth5_temp12", dict(type="GEM", blocks=4, temperature=12), positions="gem"),
    Case("resclip_rcs", RESCLIP),
    Case("resclip_rcs", RESCLIP | dict(rcs=0.6), "lam0.6.", SQUARE),
    Case("resclip_rcs", RESCLIP | dict(rcs=None), "no_rcs.", SQUARE),
    Case("resclip_rcs_other", RESCLIP | dict(base="clearclip"), "clearclip."),
    Case("resclip_rcs_other", RESCLIP | dict(base="vanilla"), "vanilla."),
    Case("resclip_rcs_other", RESCLIP | dict(base="sclip", residual=True, mlp=True), "sclip."),
    Case("resclip_voc21", VOC21 | dict(half=True)),
    Case("resclip_voc21_fp32", VOC21),
    Case("resclip_context60", CONTEXT60 | dict(half=True)),
    Case("resclip_context60_fp32", CONTEXT60),
    Case("scclip", dict(type="SCCLIP"), sizes=SQUARE),
    Case("scclip", dict(type="SCCLIP", class_weight=0.0), "res_cls0.", SQUARE),
    Case("scclip", dict(type="SCCLIP") | OTHER_LAYERS, "pre6_post2_multi5-9_rho0.1.", SQUARE),
    Case("cliptrase", dict(type="CLIPtrase")),
    Case("itaclip", dict(type="ITACLIP", engineering=None)),
]


class Reference:
    """The folder of reference outputs, and a tower with its weights under the open_clip name `parity`."""

    def __init__(self, folder: Path, scratch: Path, device: torch.device) -> None:
        self.folder, self.device = folder, device
        recipe = _module(folder / "recipe.py")
        self.recipe = Placed(recipe, device)
        self.weights = scratch / "parity.pt"
        torch.save(recipe.tiny_state_dict(), self.weights)
        r = recipe
        config = {
            "embed_dim": r.EMB,
            "quick_gelu": True,
            "vision_cfg": {
                "image_size": r.RES,
                "layers": r.VL,
                "width": r.VW,
                "head_width": r.VW // r.VH,
                "patch_size": r.PATCH,
            },
            "text_cfg": {
                "context_length": r.CTX,
                "vocab_size": r.VOCAB,
                "width": r.TW,
                "heads": r.TH,
                "layers": r.TL,
            },
        }
        (scratch / "parity.json").write_text(json.dumps(config))
        open_clip.add_model_config(scratch / "parity.json")

    def backbone(self, tail: dict, positions: str = "sclip") -> DenseCLIP:
        return DenseCLIP("parity", str(self.weights), tail, positions=positions).to(self.device)

    def queries(self) -> TextBank:
        """The seven of the ResCLIP cases, each a class."""
        features = self.recipe.tiny_queries()
        return TextBank(features, torch.arange(len(features)), len(features)).to(features)

    def load(self, name: str) -> dict[str, np.ndarray]:
        with np.load(self.folder / f"{name}.npz") as arrays:
            return dict(arrays)


def _module(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("parity_recipe", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def visual_cases(reference: Reference) -> Iterator[tuple[str, float, float]]:
    """(case, difference, tolerance) of unit patch features, for every tail and input."""
    directions = torch.randn((64, 2), generator=torch.Generator().manual_seed(7), dtype=torch.float64)
    for case in CASES:
        backbone, expected = reference.backbone(case.tail, case.positions), reference.load(f"visual_{case.file}")
        for size in case.sizes:
            with torch.no_grad():
                features = backbone(reference.recipe.tiny_input(size), reference.queries())[0]
            features = F.normalize(features, dim=0).flatten(1).T
            probes = features.double().cpu() @ directions
            name = f"{case.file} {case.key}{size}"
            yield name, gap(features[::3], expected[f"{case.key}{size}"]), FEATURES
            yield f"{name} probes", gap(probes, expected[f"{case.key}{size}.probe"]), PROBES
        if "square.attn_rows" in expected:
            with torch.no_grad():
                qkv = backbone.trace(reference.recipe.tiny_input("square")).qkv(-1)
                rows = backbone.tail.attention(qkv).weights()[0, :, ::49]
            yield f"{case.file} attention rows", gap(rows, expected["square.attn_rows"]), FEATURES


def text_cases(reference: Reference) -> Iterator[tuple[str, float, float]]:
    """Unit text features of six strings."""
    expected = reference.load("openai_pooled_text")
    clip = reference.backbone(last_block("qk")).clip
    tokens = open_clip.get_tokenizer("parity")([str(s) for s in expected["strings"]])
    longest = int(tokens.argmax(1).max()) + 1
    with torch.no_grad():
        features = F.normalize(encode_prompts(clip, tokens[:, :longest].to(reference.device)), dim=-1)
    yield "text features", gap(features, expected["text"]), TEXT


def end_to_end_cases(reference: Reference) -> Iterator[tuple[str, float, float]]:
    """Text bank, score maps, probabilities and labels of whole segmentors on one photo, with their VOC21 configs."""
    for method in ("sclip", "naclip", "clearclip", "scclip"):
        expected = reference.load(f"e2e_{method}_voc21")
        config = load_config(CONFIGS / f"{method}.py", "voc21")
        config.model.backbone.update(arch="parity", pretrained=str(reference.weights), quick_gelu=True)
        config.model.update(text_cache=None, precision="fp32")
        model = MODELS.build(config.model).eval().to(reference.device)
        picture = cv2.imread(str(reference.folder / "photos" / "synth_open.png"))
        sample = SegDataSample(metainfo=dict(ori_shape=picture.shape[:2]))
        data = dict(inputs=[torch.from_numpy(picture).permute(2, 0, 1)], data_samples=[sample])
        data = model.data_preprocessor(data)
        labels = model.predict(**data)[0].pred_sem_seg.data[0].cpu().numpy()
        (seen,) = model.look(data["inputs"], [sample])
        maps = model.refine(model.score(seen), seen)
        classes = published_probabilities(method, model, maps)

        yield f"{method} end to end: text bank", gap(model.text.features, expected["text"]), TEXT
        owners = (model.text.owner.cpu().numpy() != expected["query_idx"]).sum()
        yield f"{method} end to end: wrong owners", float(owners), 0.0
        close = FLAT if model.score_steps and reference.device.type != "cpu" else MAPS
        if "synth.logits" in expected:
            ours = maps.dense()[:, ::32, ::32]
            yield f"{method} end to end: score maps", gap(ours, expected["synth.logits"]), close
        best = classes.amax(0)[::8, ::8]
        yield f"{method} end to end: largest probability", gap(best, expected["synth.maxprob"]), close
        top = classes.topk(2, dim=0).values
        sure = ((top[0] - top[1]) / top[0] > CLOSE * factor(reference.device)).cpu().numpy()
        wrong = (labels != expected["synth.label"]) & sure
        yield f"{method} end to end: wrong labels where sure", float(wrong.sum()), 0.0


def published_probabilities(method: str, model: OpenVocabSegmentor, maps: StitchedMaps | DenseMaps) -> torch.Tensor:
    """Class probabilities (K, H, W) where each official code leaves them; the labels do not depend on it.

    SCLIP, SC-CLIP: classes that the area filter removes are 0. NACLIP: divided by their sum after the threshold.
    """
    classes = model.labelling.probabilities(maps)
    if method in ("sclip", "scclip"):
        return classes * model.labelling.large_enough(classes.argmax(0))[:, None, None]
    return classes / classes.sum(0) if method == "naclip" else classes


def main(arguments: list[str] | None = None) -> int:
    parser = Parser(description=__doc__)
    parser.add_argument("folder", type=Path, metavar="DIR", help="where the reference outputs are")
    parser.add_argument("--device", default="cpu", help="what computes: cpu, or cuda")
    options = parser.parse_args(arguments)
    return run(lambda: compare(options.folder, options.device))


def compare(folder: Path, device: str) -> int:
    """Prints a line for each case. Exit status: 0, or 1 where one is off."""
    if device != "cpu" and not (device.startswith("cuda") and torch.cuda.is_available()):
        raise InputError(f"the device {device} cannot be had: it is cpu or, where there is a GPU, cuda")
    count = failed = 0
    for outcome in outcomes(folder, torch.device(device)):
        count, failed = count + 1, failed + (not outcome.fits)
        verdict = "ok  " if outcome.fits else "FAIL"
        print(f"{verdict} {outcome.name:<48} {outcome.gap:9.2e}  (at most {outcome.tolerance:.0e})")
    print(f"{count - failed} of {count} cases within tolerance")
    return 1 if failed else 0


def outcomes(folder: Path, device: torch.device) -> Iterator[Outcome]:
    """Every case that `folder` holds, computed on `device` in fp32, without TF32."""
    if not (folder / "recipe.py").is_file():
        raise InputError(f"{folder} holds no reference outputs (recipe.py is missing)")
    warnings.simplefilter("ignore")
    torch.backends.cudnn.allow_tf32 = False
    torch.set_float32_matmul_precision("highest")
    kinds = {
        "features": visual_cases,
        "parts": part_cases,
        "guided": guided_cases,
        "text": text_cases,
        "end to end": end_to_end_cases,
    }
    with tempfile.TemporaryDirectory() as scratch:
        reference = Reference(folder, Path(scratch), device)
        for kind, cases in kinds.items():
            for name, gap, tolerance in cases(reference):
                yield Outcome(kind, name, gap, tolerance * factor(device))


def factor(device: torch.device) -> float:
    """What tolerances are multiplied by."""
    return 1 if device.type == "cpu" else ON_A_GPU


if __name__ == "__main__":
    sys.exit(main())
