"""The readers of methods that look at all windows of a picture: GLA-CLIP, LPOSS, LPOSS+. Their files are made here."""

import math

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from made_parity import make, off, read, reference_of, stored

from sclip_seg.measure.parity import lposs
from sclip_seg.measure.parity.segmentors import guided_segmentor, segmented

pytestmark = pytest.mark.filterwarnings("ignore:.*does not say how its weights were trained")
GENERATOR = torch.Generator().manual_seed(3)


def whole(*shape):
    """Numbers of 1/32, as files keep them, and with a mean."""
    drawn = torch.randn(shape, generator=GENERATOR) + 0.8 * torch.randn((1, shape[1], 1, 1), generator=GENERATOR)
    return (drawn * 20).round().clamp(-127, 127).numpy().astype(np.int8)


def proxies(guide, rho, rounds):
    """GLA-CLIP's S and n of all tokens, float64; and P, by the paper's numbers."""
    k = F.normalize(torch.from_numpy(guide).double().flatten(2).transpose(1, 2).flatten(0, 1), dim=1)
    similar = k @ k.T
    count = (similar > rho).sum(1)
    for _ in range(rounds):
        near = (similar > rho).double()
        count = near.sum(1)
        similar = F.normalize(near @ k, dim=1) @ k.T
    u = 1 + 0.3 * math.log(1 + len(guide))
    scores = (similar - u * similar.mean(1, keepdim=True).clamp(min=0)) * (1 + 30 / count[:, None])
    return count, scores.masked_fill(scores < scores.amax(1, keepdim=True).clamp(max=0), -torch.inf).softmax(1)


def gla_stage(head, guide, values, rho=0.55, rounds=2, step=3):
    count, weights = proxies(guide, rho, rounds)
    fine = F.interpolate(torch.from_numpy(values).double() / 32, guide.shape[2:], mode="bilinear")
    out = weights @ fine.flatten(2).transpose(1, 2).flatten(0, 1)
    generator = torch.Generator().manual_seed(7)
    directions = torch.randn((out.shape[1], 2), generator=generator, dtype=torch.float64)
    return {
        f"{head}.out": out[::step].float().numpy(),
        f"{head}.out.probe": (out @ directions).numpy(),
        f"{head}.count": count.numpy().astype(np.int16),
        f"{head}.kept": (weights > 0).sum(1).numpy().astype(np.int16),
        f"{head}.attn_rows": weights[:: 263 if step == 3 else 523].float().numpy(),
        f"{head}.risky": np.array([], np.int16),
    }


@pytest.fixture
def folder(tmp_path):
    return make(tmp_path / "made")


def test_joint_attention_of_any_case_with_any_options(folder):
    guide, values = whole(3, 6, 10, 10), whole(3, 8, 5, 5)
    arrays = {"three_wide.guide": guide, "three_wide.values": values, "three_wide.boxes": np.zeros((3, 4), np.int16)}
    arrays |= gla_stage("three_wide", guide, values)
    arrays |= gla_stage("three_wide.rho0.4.iters3", guide, values, 0.4, 3, step=9)
    arrays |= gla_stage("three_wide.iters0", guide, values, rounds=0, step=9)
    path = folder / "stage_gla.npz"
    np.savez(path, **arrays, **{"three_wide.odd1.out": arrays["three_wide.out"], "lone.out": np.zeros((3, 8))})
    found, unknown = read(folder)
    assert len(found) == 15
    assert off(folder) == []
    assert unknown == ["stage_gla three_wide.odd1.out", "stage_gla lone.out"]
    arrays["three_wide.iters0.out"][4] += 1e-3  # of token 36
    arrays["three_wide.iters0.count"][7] += 1
    arrays["three_wide.rho0.4.iters3.attn_rows"][0, 5] += 1e-5
    np.savez(path, **arrays)
    wrong = ["rho0.4.iters3 attention rows", "iters0", "iters0 wrong numbers of a proxy"]
    assert off(folder) == [f"gla three_wide.{name}" for name in wrong]
    np.savez(path, **arrays | {"three_wide.iters0.risky": np.array([7, 36], np.int16)})
    assert off(folder) == [f"gla three_wide.{wrong[0]}"]


def test_windows_of_an_input_at_boxes(folder):
    boxes = np.array([[0, 0, 64, 96], [0, 64, 64, 160], [48, 0, 112, 96], [48, 64, 112, 160]], np.int16)
    guide, arrays = whole(4, 6, 8, 12), {}
    with reference_of(folder) as reference:
        pixels = reference.input("wide2")
        windows = torch.cat([pixels[:, :, box[0] : box[2], box[1] : box[3]] for box in boxes])
        for head, changes in (
            ("wide2.mine", {}),
            ("heads4.rho0.5.wide2.mine", dict(heads=4)),
            ("wide2.mine.iters1", {}),
        ):
            rho, rounds = 0.5 if "rho" in head else 0.55, 1 if "iters1" in head else 2
            tower = reference.backbone(dict(type="MaskCLIP"), **changes)
            trace = tower.trace(windows)
            values = trace.qkv(-1).v[:, :, 1:].transpose(1, 2).flatten(2).transpose(1, 2).unflatten(2, (4, 6))
            fine = F.interpolate(values, (8, 12), mode="bilinear").flatten(2).transpose(1, 2).flatten(0, 1)
            count, weights = proxies(guide, rho, rounds)
            mixed = tower.clip.visual.transformer.resblocks[-1].attn.out_proj(weights.float() @ fine)
            arrays |= stored(head, F.normalize(trace.joint(mixed[None])[0], dim=1)) | {f"{head}.count": count.numpy()}
    path = folder / "visual_gla.npz"
    np.savez(path, **arrays, **{"wide2.mine.boxes": boxes, "wide2.mine.guide": guide, "text": np.zeros(2)})
    found, unknown = read(folder)
    assert len(found) == 9
    assert off(folder) == []
    assert unknown == ["visual_gla text"]
    np.savez(path, **arrays, **{"wide2.mine.boxes": boxes[::-1], "wide2.mine.guide": guide})
    assert len(off(folder)) == 6  # all but the counts, which no pixel decides


def photo(folder):
    """With a drawn photo; the path of it."""
    (folder / "photos").mkdir()
    with reference_of(folder) as reference:
        cv2.imwrite(str(folder / "photos" / "here.png"), reference.recipe.tiny_photo().numpy()[:, :, ::-1])
    return folder / "photos" / "here.png"


def test_gla_s_segmentor_where_safe(folder):
    path = photo(folder)
    with reference_of(folder) as reference:
        model = guided_segmentor(reference, "gla_clip", "toy")
        seen = segmented(model, path, lambda classes: classes)
        sure = seen.sure
        arrays = {
            "text": model.text.features.numpy(),
            "here.label": seen.labels.numpy().astype(np.uint8),
            "here.logits": seen.maps.dense()[:, ::7, ::7].numpy(),
            "here.maxprob": seen.published.amax(0)[::5, ::5].numpy(),
        }
    where = tuple(np.argwhere(sure)[0])
    turned = arrays["here.label"].copy()
    turned[where] += 1
    safe = np.ones(turned.shape, bool)
    for label, pixel, wrong in (
        (arrays["here.label"], None, []),
        (turned, None, ["gla on toy, here: wrong labels where sure"]),
        (turned, where, []),
    ):
        if pixel is not None:
            safe[pixel] = False
        np.savez(folder / "e2e_gla_toy.npz", **arrays | {"here.label": label, "here.safe": np.packbits(safe)})
        assert (off(folder), read(folder)[1]) == (wrong, [])
    np.savez(folder / "e2e_gla_garden.npz", **arrays)
    assert read(folder)[1] == ["e2e_gla_garden"]


def dense_spread(weights, columns, alpha):
    """Ten steps of conjugate gradients by the definition, column by column; D, Wn, residuals."""
    degree = weights.sum(1)
    scale = torch.where(degree == 0, 1, degree) ** -0.5
    wn = scale[:, None] * weights * scale
    found, left = torch.zeros_like(columns), []
    for index, b in enumerate(columns.T):
        x, r = torch.zeros_like(b), b.clone()
        p = r
        for _ in range(10 if b.any() else 0):
            q = p - alpha * (wn @ p)
            step = (r @ r) / (p @ q)
            x, r, before = x + step * p, r - step * q, r
            p = r + (r @ r) / (before @ before) * p
        found[:, index] = x
        left.append(float(r.norm() / max(b.norm(), 1e-30)))
    return found, degree, wn, np.array(left)


def patches_case(head, guide, boxes, scores, k, gamma, sigma, alpha):
    f = F.normalize(torch.from_numpy(guide).double().flatten(2).transpose(1, 2).flatten(0, 1), dim=1)
    y, x = torch.meshgrid(torch.arange(4), torch.arange(5), indexing="ij")
    grid = torch.stack([y, x], dim=-1).view(-1, 2) * 16.0 + 8
    places = torch.cat([grid + torch.from_numpy(box[:2].astype(float)) for box in boxes])
    similar = f @ f.T
    near = torch.zeros_like(similar).scatter_(1, similar.topk(k, dim=1).indices, 1)
    w = near * similar.clamp(min=0) ** gamma * torch.exp(-sigma * torch.cdist(places, places))
    w = (w + w.T).fill_diagonal_(0)
    out, degree, wn, left = dense_spread(w, torch.from_numpy(scores).double(), alpha)
    arrays = dict(out=out, degree=degree, nnz=(w != 0).sum() + len(w), Wn_rows=wn[::97])
    return {f"{head}.{part}": array.numpy() for part, array in arrays.items()} | {f"{head}.residual": left}


def test_graphs_of_patches(folder):
    boxes = np.array([[0, 0, 64, 80], [0, 75, 64, 155], [0, 99, 64, 179]], np.int16)  # the last is moved back
    guide, scores = whole(3, 6, 4, 5), torch.randn((60, 3), generator=GENERATOR).numpy()
    scores[:, 1] = 0
    inputs = {"mine.guide": guide, "mine.boxes": boxes, "mine.scores": scores, "mine.exact": scores}
    inputs |= {"mine.options": np.array([20, 2.0, 0.02, 1.0, 0.9]), "mine.k15_sigma0.03.iterations": np.zeros(3)}
    arrays = patches_case("mine", guide, boxes, scores, 20, 2, 0.02, 0.9)
    arrays |= patches_case("mine.k15_sigma0.03", guide, boxes, scores, 15, 2, 0.03, 0.9)
    arrays |= patches_case("mine.alike", guide, boxes, scores, 25, 1, 0.0, 0.8)
    inputs["mine.alike.options"] = np.array([25, 1.0, 0.0, 1.0, 0.8])
    path = folder / "stage_lposs.npz"
    np.savez(path, **inputs, **arrays)
    found, unknown = read(folder)
    assert (len(found), off(folder), unknown) == (15, [], [])
    np.savez(path, **inputs, **arrays | {"mine.nnz": arrays["mine.nnz"] + 2, "mine.out": arrays["mine.out"] + 1e-3})
    assert off(folder) == ["lposs mine", "lposs mine entries, relative"]
    np.savez(path, **inputs | {"mine.options": np.array([20, 2.0, 0.02, 2.0, 0.9])}, **arrays)
    assert {name.split()[-1] for name in read(folder)[1]} >= {"mine.out", "mine.guide"}  # distances squared
    np.savez(path, **inputs | {"mine.boxes": boxes[[0, 2, 1]]}, **arrays)
    assert "stage_lposs mine.out" in read(folder)[1]


def cielab(rgb):
    """Of one bright pixel, divided by (100, 128, 128)."""
    linear = ((rgb + 0.055) / 1.055) ** 2.4
    rows = ((0.412453, 0.357580, 0.180423), (0.212671, 0.715160, 0.072169), (0.019334, 0.119193, 0.950227))
    x, y, z = (linear @ row / white for row, white in zip(rows, (0.95047, 1.0, 1.08883), strict=True))
    return (
        (116 * y ** (1 / 3) - 16) / 100,
        500 * (x ** (1 / 3) - y ** (1 / 3)) / 128,
        200 * (y ** (1 / 3) - z ** (1 / 3)) / 128,
    )


def test_graphs_of_pixels(folder):
    picture = torch.randint(90, 110, (6, 9, 3), generator=GENERATOR).numpy().astype(np.uint8)
    picture[2, 3] = 255  # unlike all others
    maps = torch.randn((2, 6, 9), generator=GENERATOR).numpy()
    colours = np.array([cielab(pixel / 255) for pixel in picture.reshape(-1, 3)])
    places = torch.cartesian_prod(torch.arange(6.0), torch.arange(9.0))
    far = torch.cdist(*2 * [torch.from_numpy(colours).double()])
    arrays = {"drawn.picture": picture, "drawn.maps": maps, "drawn.options": np.array([5, 0.1, 0.9])}
    for head, reach, tau in (("drawn", 2, 0.1), ("drawn.r3_tau0.2", 1, 0.2)):
        near = (places[:, None] - places).abs().amax(-1) <= reach
        w = (near * torch.exp(-far / tau)).fill_diagonal_(0)
        out, degree, _, left = dense_spread(w, torch.from_numpy(maps).double().flatten(1).T, 0.9)
        arrays |= {f"{head}.out": out.T.reshape(2, 6, 9).numpy(), f"{head}.degree": degree.view(6, 9).numpy()}
        arrays |= {f"{head}.residual": left}
    np.savez(folder / "stage_lposs.npz", **arrays)
    found, unknown = read(folder)
    assert (len(found), off(folder), unknown) == (6, [], [])
    np.savez(folder / "stage_lposs.npz", **arrays, **{"drawn.lab": colours[::3] + 1e-4})
    assert off(folder) == ["lposs drawn colours"]


@pytest.mark.parametrize("method", ["lposs", "lposs_plus"])
def test_lposs_s_segmentors(folder, method):
    path = photo(folder)
    with reference_of(folder) as reference:
        model = lposs.with_stand_in(reference, method, "voc20", 224)
        seen = lposs.Seen(model, path)
        spread = model.stages[0](seen.first, seen.picture)
        tiles = {"patch_scores": seen.first.tiles, "patch_out": spread.tiles}
        assert len(seen.first.tiles) == 2
        arrays = {f"here.{key}": tile.permute(0, 2, 3, 1).flatten(0, 2)[::9].numpy() for key, tile in tiles.items()}
        arrays |= {"query_idx": model.text.owner.numpy(), "here.scores": seen.classes[:, ::5, ::5].numpy()}
        arrays |= {"here.label": model.label(seen.maps, seen.picture).numpy(), "short": np.array(224)}
    np.savez(folder / f"e2e_{method}_voc20.npz", **arrays)
    found, unknown = read(folder)
    assert (len(found), off(folder), unknown) == (5, [], [])
    np.savez(folder / f"e2e_{method}_voc20.npz", **arrays | {"here.patch_scores": arrays["here.patch_scores"] + 1e-4})
    assert off(folder) == [f"{method} on voc20, here: scores of patches"]
