"""The readers of PEARL and FSA. Their files are made here, by the papers' numbers."""

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from made_parity import features, make, off, read, reference_of, stored

from sclip_seg.measure.parity import fsa, pearl
from sclip_seg.measure.parity.names import options
from sclip_seg.measure.parity.segmentors import guided_segmentor, segmented
from sclip_seg.measure.parity.standins import CHANNELS
from sclip_seg.measure.parity.visual import last_block

pytestmark = pytest.mark.filterwarnings("ignore:.*does not say how its weights were trained")
GENERATOR = torch.Generator().manual_seed(4)


@pytest.fixture
def folder(tmp_path):
    """With a photo."""
    folder = make(tmp_path / "made")
    (folder / "photos").mkdir()
    with reference_of(folder) as reference:
        cv2.imwrite(str(folder / "photos" / "here.png"), reference.recipe.tiny_photo().numpy()[:, :, ::-1])
    return folder


def test_words_of_keys():
    assert options("kk0.3", pearl.WORDS)["tail"] == dict(attention=dict(alpha=0.3))
    assert options("iters2", pearl.WORDS)["tail"] == dict(attention=dict(steps=2))
    assert options("beta1gamma2", fsa.WORDS)["tail"] == dict(beta=1, gamma=2)
    assert options("q30", fsa.WORDS) == dict(queries=30)
    assert options("lam4.5", fsa.WORDS)["tail"] == dict(sharpness=4.5)


def test_aligned_keys_of_any_input(folder):
    tail = last_block("pearl", False, False)
    with reference_of(folder) as reference:
        arrays = {}
        cases = ("tall", {}), ("kk0.5_iters3.odd", dict(alpha=0.5, steps=3)), ("svd.small", dict(steps=None))
        for head, changes in cases:
            own = tail | dict(attention=dict(type="pearl", **changes))
            arrays |= stored(head, features(reference, head.rpartition(".")[2], tail=own))
        t = reference.backbone(tail).trace(reference.input("tall")).qkv(-1)
        weight = torch.cat([torch.zeros(2, 1), t.q[0, :, 1:].norm(dim=-1)], dim=1)[..., None]
        weight = weight / weight.sum(1, keepdim=True)
        q, k = (part[0] - (weight * part[0]).sum(1, keepdim=True) for part in (t.q, t.k))
        arrays["tall.moment"] = (k.mT @ q).numpy()
    path = folder / "visual_pearl.npz"
    np.savez(path, **arrays)
    found, unknown = read(folder)
    assert (len(found), off(folder), unknown) == (7, [], [])
    np.savez(path, **arrays | {"tall.moment": 1.001 * arrays["tall.moment"], "strange7.tall": arrays["tall"]})
    assert off(folder) == ["pearl tall moment"]
    assert read(folder)[1] == ["visual_pearl strange7.tall"]


def drawn_case(steps):
    """A picture of 9 x 170 pixels in cells of 1 x 2, float64: `.out` by conjugate gradients on the whole matrix."""
    image = (8 * torch.randn((3, 9, 170), generator=GENERATOR)).round().clamp(-127, 127)
    logits = (60 * torch.randn((4, 9, 170), generator=GENERATOR)).round().clamp(-127, 127)
    text = (20 * torch.randn((4, 12), generator=GENERATOR)).round().clamp(-127, 127)
    start = F.avg_pool2d(0.01 * logits.double(), (1, 2))
    red, green, blue = image.double() / 32
    grey = F.avg_pool2d((0.299 * red + 0.587 * green + 0.114 * blue)[None], (1, 2))[0]
    unit = F.normalize(text.double(), dim=1)
    similar = (2 * unit @ unit.T).softmax(1) + 10 * torch.eye(4)
    similar = similar / (similar.sum(1, keepdim=True) + 1e-6)
    s, p = similar.diagonal()[:, None, None], start.softmax(0)
    data = p.amax(0).clamp(min=0.05) ** 2 * (1 + (s * p * p).sum(0).clamp(0, 1))
    weights, matrix = [], torch.diag(data.flatten())
    index = torch.arange(9 * 85).view(9, 85)
    for cut in ((slice(None), slice(1, None)), (slice(1, None), slice(None))):
        back = tuple(slice(None, -1) if part.start else part for part in cut)
        far = (grey[cut] - grey[back]).abs()
        here, there = p[(slice(None), *cut)], p[(slice(None), *back)]
        agree = (s * here * there).sum(0).clamp(0, 1)
        w = (torch.exp(-5 * far / (far.mean() + 1e-6)) * (1 + agree)).clamp(max=1)
        i, j = index[back].flatten(), index[cut].flatten()
        for one, other in ((i, j), (j, i)):
            matrix[one, one] += w.flatten()
            matrix[one, other] -= w.flatten()
        weights.append(w)
    flat = start.flatten(1).T
    right = data.flatten()[:, None] * flat
    x, r = flat.clone(), right - matrix @ flat
    d, before = r.clone(), r.norm()
    for _ in range(steps):
        stride = (r * r).sum() / (d * (matrix @ d)).sum()
        after = r - stride * (matrix @ d)
        x, d, r = x + stride * d, after + (after * after).sum() / (r * r).sum() * d, after
    out = F.interpolate(x.T.view(1, 4, 9, 85), (9, 170), mode="bilinear")[0]
    arrays = {"S": similar, "start": start[::3, ::9], "data": data[::3], "across": weights[0][::3]}
    arrays |= {"down": weights[1][::3], "solution": x.T.view(4, 9, 85)[:, ::3, ::2], "out": out[:, ::9, ::9]}
    arrays |= {"residual": torch.stack([before, (right - matrix @ x).norm()])}
    found = {f"mine.{key}": array.numpy() for key, array in arrays.items()}
    given = {"image": image, "logits": logits, "text": text}
    found |= {f"mine.{key}": array.numpy().astype(np.int8) for key, array in given.items()}
    return found | {"mine.options": np.array([0.01, 80.0, 1.0, steps, 9.0, 85.0])}


def test_maps_over_a_picture(folder):
    arrays, path = drawn_case(6), folder / "stage_pearl.npz"
    np.savez(path, **arrays)
    found, unknown = read(folder)
    assert (len(found), off(folder), unknown) == (9, [], [])
    np.savez(path, **arrays | {"mine.out": arrays["mine.out"] + 1e-4, "mine.data": arrays["mine.data"] + 1e-5})
    assert off(folder) == ["pearl mine data", "pearl mine out"]
    np.savez(path, **arrays | {"mine.options": np.array([0.01, 170.0, 1.0, 6, 9.0, 85.0])})
    assert "pearl mine wrong sides" in off(folder)


@pytest.mark.parametrize("name", ["voc20", "voc20_noprop"])
def test_pearl_s_segmentor(name, folder):
    with reference_of(folder) as reference:
        changes = {"model.refine": []} if "noprop" in name else {}
        seen = pearl.Refined(pearl.segmentor(reference, "pearl", "voc20", changes), folder / "photos" / "here.png")
        maps, classes = seen.segmented.maps.dense(), seen.segmented.probabilities
        arrays = {
            "here.logits": seen.first.dense()[:, ::7, ::7].numpy(),
            "here.scores": maps[:, ::7, ::7].numpy(),
            "here.maxprob": (classes / classes.sum(0)).amax(0)[::5, ::5].numpy(),
            "here.label": seen.segmented.labels.numpy().astype(np.uint8),
        }
    path = folder / f"e2e_pearl_{name}.npz"
    np.savez(path, **arrays)
    found, unknown = read(folder)
    assert (len(found), off(folder), unknown) == (4, [], [])
    np.savez(path, **arrays | {"here.scores": arrays["here.scores"] + 1e-4})
    assert off(folder) == [f"pearl on {name}, here: scores"]


def fed_back(reference, name, grid, text):
    """FSA's arrays of an input and a guide of that name, float64 from the values on."""
    guide = reference.recipe.tiny_guide(f"{name}/guide", CHANNELS, *grid).double()
    tower = reference.backbone(dict(type="MaskCLIP"))
    trace = tower.trace(reference.input(name))
    values = trace.fold(trace.qkv(-1).v[:, :, 1:].transpose(1, 2).flatten(2)).double()
    values = F.interpolate(values, grid, mode="bilinear")[0].flatten(1).T
    unit = F.normalize(guide[0].flatten(1).T, dim=1)
    scores = 3 * (unit @ unit.T - 1.2 * (unit @ unit.T).mean())
    proxy = scores.masked_fill(scores < 0, -torch.inf).softmax(1)
    attn = tower.clip.visual.transformer.resblocks[-1].attn

    def joint(weights):
        return F.normalize(trace.joint(attn.out_proj((weights @ values).float())[None])[0].double(), dim=1)

    first, uniform = 20 * joint(proxy) @ text.T, 35 * joint(torch.full_like(proxy[:1], 1 / len(proxy))) @ text.T
    p = (first - uniform).softmax(1)
    log = (p + 1e-10).log()
    similar = 1 / (1 + ((p * log).sum(1, keepdim=True) - p @ log.T).clamp(min=0))
    order = similar.argsort(dim=1, descending=True)
    keep = similar.softmax(1).gather(1, order).cumsum(1) <= 0.45
    keep[:, 0] = True
    kept = torch.zeros_like(keep).scatter_(1, order, keep)
    w = (similar * (3 * similar).exp()).masked_fill(~kept, -torch.inf).softmax(1)
    arrays = stored(f"{name}+{name}/guide", joint((w @ proxy + proxy @ w + w) / 3))
    inside = {"first": first[::3], "uniform": uniform[0], "similarity": similar[::97], "new_rows": w[::97]}
    inside |= {"kept": kept.sum(1), "risky": torch.tensor([], dtype=torch.int16)}
    return arrays | {f"{name}+{name}/guide.{key}": array.numpy() for key, array in inside.items()}


def test_a_second_pass_on_any_input_and_guide(folder):
    with reference_of(folder) as reference:
        text = reference.queries().features.double()
        arrays = fed_back(reference, "small", (4, 4), text)  # of more patches nearly all are alike
    path = folder / "visual_fsa.npz"
    np.savez(path, **arrays)
    found, unknown = read(folder)
    assert (len(found), off(folder), unknown) == (7, [], [])
    head = "small+small/guide"
    counts = arrays[f"{head}.kept"].copy()
    counts[5] += 1
    np.savez(path, **arrays | {f"{head}.kept": counts})
    assert off(folder) == [f"fsa {head} wrong numbers kept"]
    np.savez(path, **arrays | {f"{head}.kept": counts, f"{head}.risky": np.array([5], np.int16)})
    assert off(folder) == []


def test_fsa_s_segmentor(folder):
    with reference_of(folder) as reference:
        model = guided_segmentor(reference, "fsa", "voc20")
        seen = segmented(model, folder / "photos" / "here.png", lambda classes: classes)
        arrays = {
            "text": model.text.features.numpy(),
            "here.label": seen.labels.numpy().astype(np.uint8),
            "here.logits": seen.maps.dense()[:, ::7, ::7].numpy(),
            "here.risky": np.array([3, 4], np.int16),
        }
    np.savez(folder / "e2e_fsa_voc20.npz", **arrays)
    found, unknown = read(folder)
    assert (len(found), off(folder), unknown) == (3, [], [])
    np.savez(folder / "e2e_fsa_voc20.npz", **arrays | {"here.logits": arrays["here.logits"] + 1e-3})
    assert off(folder) == ["fsa on voc20, here: score maps"]
