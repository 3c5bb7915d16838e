"""What a method shows as its attention is the paper's, in float64 with loops, and what its features are made of."""

from dataclasses import replace
from pathlib import Path

import formulas
import formulas_cliper as cliper
import formulas_corrclip as corrclip
import formulas_dih as dih
import formulas_fsa as fsa
import formulas_gla as gla
import formulas_guided as guided
import formulas_paths as paths
import formulas_resclip as resclip
import formulas_scclip as scclip
import formulas_sfp as sfp
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from formulas import LastBlockWeights, correlation, project
from formulas_shown import calmed, spectral
from mosaics import bank, mosaic
from numpy import ndarray as Array
from stub_guide import StubGuide
from torch import Tensor

from sclip_seg.config import WORDS, choices, load_config
from sclip_seg.errors import InputError
from sclip_seg.registry import TAILS
from sclip_seg.towers.encoder import DenseCLIP
from sclip_seg.towers.tail import LastBlock, SecondPath
from sclip_seg.words.text import TextBank

CONFIGS = Path(__file__).parents[2] / "configs"
METHODS = choices(CONFIGS)["method"]
SIZES = {(32, 32): 8, (24, 40): 10, (48, 16): 8}  # and a seed for each at which no pixel's label is near a tie
MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)  # OpenAI's
ROW_SUMS = dict.fromkeys(METHODS, 1.0) | dict(sclip=2, itaclip=2, cliptrase=3, cliptrase_windows=3, resclip=2)
ROW_SUMS |= dict(zsseg=2, scan=2)


def settings_of(method: str) -> dict:
    """The tail of the method's config for a short tower, its guides replaced by a small one."""
    tail = load_config(CONFIGS / f"{method}.py", WORDS, "toy").model.backbone.tail.to_dict()
    tail |= {place: dict(type=StubGuide) for place in {"guide", "affinity"} & tail.keys()}
    # The toy's temperature is its own, and among so few patches the thirtieth neighbour is one of two equally far.
    return tail | dict(gem=dict(temperature=None), scclip=dict(neighbours=4)).get(method, {})


class Case:
    """Two windows of a size, seen by a method and, in float64, by the formulas."""

    def __init__(self, method: str, size: tuple[int, int], build_dense) -> None:
        self.method, self.settings, self.image = method, settings_of(method), mosaic(*size, SIZES[size])
        if method == "fsa":  # of patches that are alike, rounding decides which are kept
            self.image = torch.randn(self.image.shape, generator=torch.Generator().manual_seed(1))
        self.dense: DenseCLIP = build_dense(self.settings)
        self.tower = paths.tower_weights(self.dense.clip.visual)
        self.grid = (size[0] // 8, size[1] // 8)
        starts = self.dense.trace(self.image, blocks=(-5,)).states[-1].double().numpy()
        self.states = [scclip.plain_states(start, self.tower, self.grid) for start in starts]
        self.text = self.words()

    def words(self) -> TextBank:
        """Queries that differ from patch to patch."""
        plain = formulas.last_block(
            np.stack([states[-1] for states in self.states]),
            self.tower[-1],
            self.grid,
            lambda p: correlation(p.k, p.k, formulas.gaussian(self.grid, 5.0)),
            residual=False,
            mlp=False,
        )
        found = bank(torch.from_numpy(plain))
        if self.method == "fsa":  # and of predictions that are sure
            return replace(found, features=0.4 * found.features)
        return found

    def shown(self, block: int = -1) -> Tensor:
        """(2, heads or 1, T, T)"""
        with torch.no_grad():
            maps = self.dense.attention_maps(self.image, self.text, block)
        assert maps.weights.dtype == torch.float32
        return maps.weights

    def last(self) -> Array:
        """The last block's attention by the paper's equation, (2, heads or 1, T, T)."""
        return np.stack([FORMULAS[self.method](self, window) for window in range(2)])

    def projected(self, window: int, block: int = -1) -> formulas.Projected:
        return project(self.states[window][block], self.tower[block], self.grid)


def plain(attention):
    """The formula of an attention that needs the last block alone."""
    return lambda case, window: attention(case.projected(window))


def itaclip(case: Case, window: int) -> Array:
    """½ A_self(last) + ½ mean of A_self over the middle blocks."""
    depth, tail = len(case.tower), case.settings
    middle = {paths.counted(block, depth, tail["tower"]) for block in tail["blocks"]}
    early = sum(paths.self_attention(case.projected(window, block - 1)) for block in middle) / len(middle)
    return (paths.self_attention(case.projected(window)) + early) / 2


def second_pass(case: Case, window: int) -> Array:
    """ResCLIP's τ_r [(1 - λ_r) softmax(τ_s [(1 - λ_s) k kᵀ/√d + λ_s Ŝ] + G) + λ_r A_c]."""
    s = resclip.Settings(**{key: value for key, value in case.settings.items() if key != "type"})
    start, pixels = case.states[window][0], case.image[window].double().numpy()
    outcome = resclip.resclip(start, pixels, case.text.features.double().numpy(), case.tower, case.grid, s)
    assert outcome.margin > 1e-5
    p, blocks = case.projected(window), resclip.mapped(s.rcs_blocks, s.tower, len(case.tower))
    middle = [case.projected(window, block - 1) for block in blocks]
    cross = sum(correlation(m.q, m.k) for m in middle) / len(middle)
    hint = np.pad(outcome.feedback, ((1, 0), (1, 0)))
    weights = np.empty_like(cross)
    for head, keys in enumerate(p.k):
        scores = keys @ keys.T / np.sqrt(keys.shape[1])
        logits = s.sfr_scale * ((1 - s.sfr) * scores + s.sfr * hint) + formulas.gaussian(case.grid, s.sigma)
        weights[head] = np.stack([formulas.softmax(row) for row in logits])
    return s.rcs_scale * ((1 - s.rcs) * weights + s.rcs * cross)


def calibrated(case: Case, window: int) -> Array:
    """SC-CLIP's N_β(T) A of the patches, the mean of the two passes, which have A's keys each of its own."""
    s, states = case.settings, case.states[window]
    mid, post = (paths.counted(s[name], 4, s["tower"]) for name in ("mid", "post"))
    fused = {paths.counted(block, 4, s["tower"]) for block in s["fused"]}
    outlier = scclip.outliers(states[-1][1:], "released", 4)
    similar = scclip.cosines(scclip.repair(states[mid][1:], outlier, case.grid))
    passes = [
        scclip.aggregate(similar, 0.4) @ scclip.repair(states[-1][1:], outlier, case.grid),
        sum(states[block] for block in fused)[1:],
    ]
    middle = np.zeros_like(similar)
    for i, row in enumerate(similar):
        kept = [j for j, entry in enumerate(row) if entry >= similar.mean()]
        middle[i, kept] = formulas.softmax(3 * row[kept])
    spread, total = scclip.aggregate(scclip.cosines(states[post][1:]), 0.4), 0
    for patches in passes:
        keys = project(patches, case.tower[-1], case.grid).k
        total = total + np.stack([spread @ ((middle + own) / 2) for own in correlation(keys, keys)])
    return total / 2


def in_tower(case: Case, kind):
    """The settings of a method of SC-CLIP's kin, with its blocks as they are in a tower of four."""
    s = {key: value for key, value in case.settings.items() if key not in ("type", "tower")}
    mid, post, *fused = (
        paths.counted(block, 4, case.settings["tower"]) for block in (s["mid"], s["post"], *s["fused"])
    )
    return kind(**s | dict(mid=mid, post=post, fused=tuple(sorted({*fused}))))


def purified(case: Case, window: int) -> Array:
    """SFP's N_β(T) A, the mean of its passes' different attentions."""
    found = sfp.window(case.states[window][0], case.tower, case.grid, in_tower(case, sfp.Settings))
    return sum(found.spread @ maps for maps in found.weights) / 2


def selective(case: Case, window: int) -> Array:
    """DIH-CLIP's N_β(T) times the joined map of the selected heads, the mean of its passes."""
    found = dih.window(case.states[window][0], case.tower, case.grid, in_tower(case, dih.Settings))
    return (found.spread @ sum(found.joined) / 2)[None]


def guide(case: Case, window: int) -> Array:
    """The guide's features (C, H, W)."""
    pixels = case.image[window] * torch.tensor(STD)[:, None, None] + torch.tensor(MEAN)[:, None, None]
    return case.dense.tail.guide(pixels[None])[0].double().numpy()


def proxy(case: Case, window: int) -> Array:
    """The softmax of a guide's similarities, one map for all heads."""
    return guided.proxy(guided.places(guide(case, window)), beta=1.2, gamma=3.0)[None]


def again(case: Case, window: int) -> Array:
    """FSA's second pass over ProxyCLIP's, on patches alone, one map for all heads."""
    inputs = case.states[window][-1], case.tower[-1], case.grid, guide(case, window)
    outcome = fsa.on_proxyclip(*inputs, case.text.features.double().numpy())
    assert outcome.margin > 1e-6
    return outcome.attention


def joint(case: Case, window: int) -> Array:
    """GLA-CLIP's weights, of a window that is a picture by itself."""
    sharp = {name: case.settings[name] for name in ("rho", "gamma")}  # the toy's
    return gla.joint_weights(gla.unit_keys([guide(case, window)]), windows=1, **sharp)[None]


def shared(case: Case, window: int) -> Array:
    """CLIPer's affinity of all blocks, in the last one."""
    return cliper.readings(case.states[window][0], case.tower, case.grid)[1][-1]


FORMULAS = {
    "clip": plain(lambda p: correlation(p.q, p.k)),
    "maskclip": plain(formulas.identity),
    "clip_surgery": plain(paths.surgery_attention),
    **dict.fromkeys(("sclip", "zsseg", "scan"), plain(lambda p: correlation(p.q, p.q) + correlation(p.k, p.k))),
    "gem": plain(paths.gem_attention),
    "naclip": plain(lambda p: formulas.naclip(p, sigma=5.0)),
    "clearclip": plain(lambda p: correlation(p.q, p.q)),
    "cliptrase": plain(formulas.combination),
    "cliptrase_windows": plain(formulas.combination),
    "proxyclip": proxy,
    "trident": proxy,
    "itaclip": itaclip,
    "resclip": second_pass,
    "scclip": calibrated,
    "fsa": again,
    "sfp": purified,
    "dih_clip": selective,
    "gla_clip": joint,
    "cliper": shared,
    "corrclip": lambda case, window: corrclip.all_void(guide(case, window)),
    "corrclip_v2": lambda case, window: corrclip.all_void(guide(case, window), finer=2),
    "cass": spectral,
    "rfclip": calmed,
    **dict.fromkeys(("radseg", "radseg_plus"), plain(formulas.scra)),
    "pearl": plain(lambda p: formulas.pearl(p, alpha=0.08, steps=5)),
    **dict.fromkeys(("lposs", "lposs_plus"), plain(formulas.identity)),  # what spreads scores mixes no values
}


@pytest.fixture(scope="module")
def case(build_dense):
    """`case(method, size)`"""
    known = {}

    def get(method: str, size: tuple[int, int]) -> Case:
        if (method, size) not in known:
            known[method, size] = Case(method, size, build_dense)
        return known[method, size]

    return get


def test_every_method_has_a_formula():
    assert set(METHODS) == FORMULAS.keys()


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("method", METHODS)
def test_last_attention_equals_the_formula(method, size, case):
    both = case(method, size)
    shown, expected = both.shown(), torch.from_numpy(both.last())
    assert shown.shape == expected.shape
    torch.testing.assert_close(shown.double(), expected, rtol=0, atol=1e-4)
    assert (shown[0] - shown[1]).abs().max() > 1e-2 or method in ("maskclip", "lposs", "lposs_plus")
    if method == "rfclip":  # what the class token has is cut off after the softmax
        assert 0.5 < shown.sum(-1).min() <= shown.sum(-1).max() < 1
    else:
        sums = torch.full(shown.shape[:3], float(ROW_SUMS[method]))
        torch.testing.assert_close(shown.sum(-1), sums, rtol=0, atol=1e-4)
    assert shown.min() >= 0


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("method", METHODS)
def test_earlier_blocks_look_as_trained_but_along_a_second_path(method, size, case):
    both = case(method, size)
    second = {"gem": paths.gem_attention, "clip_surgery": paths.surgery_attention}
    assert (method in second) == isinstance(both.dense.tail, SecondPath)
    for block in range(3):
        # Half of twelve blocks are the last two of four.
        formula = second[method] if method in second and block >= 2 else lambda p: correlation(p.q, p.k)
        expected = np.stack([formula(both.projected(window, block)) for window in range(2)])
        for counted in (block, block - 4):
            torch.testing.assert_close(both.shown(counted).double(), torch.from_numpy(expected), rtol=0, atol=1e-4)


LAST_BLOCK = [method for method in METHODS if issubclass(TAILS.get(settings_of(method)["type"]), LastBlock)]


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("method", LAST_BLOCK)
def test_features_are_made_of_the_shown_weights(method, size, case):
    """What is shown, multiplied with the values by hand and the block finished by hand, is the feature map."""
    both = case(method, size)
    weights = iter(both.shown().double().numpy())
    inputs, tail = np.stack([states[-1] for states in both.states]), both.dense.tail
    w = LastBlockWeights.of(both.dense.clip.visual)
    switches = dict(residual=tail.residual, mlp=tail.mlp)
    expected = torch.from_numpy(formulas.last_block(inputs, w, both.grid, lambda p: next(weights), **switches))
    features = both.dense(both.image, both.text).double()
    assert (F.normalize(features, dim=1) - F.normalize(expected, dim=1)).abs().max() < 1e-4
    torch.testing.assert_close(features.norm(dim=1), expected.norm(dim=1), rtol=1e-4, atol=0)


def test_feedback_without_words_is_refused(case):
    both = case("resclip", (24, 40))
    with pytest.raises(InputError, match="depends on the words"):
        both.dense.attention_maps(both.image, None)
    assert both.dense.attention_maps(both.image, None, 1).weights.shape == (2, 4, 16, 16)
