"""The readers of zsseg and SCAN. Their files are made here, by the float64 formulas."""

import formulas_zsseg as plain
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from formulas import softmax
from made_parity import make, off, read, reference_of

pytestmark = pytest.mark.filterwarnings("ignore:.*does not say how its weights were trained")
SHIFT = "shift0.5"


@pytest.fixture(scope="module")
def arrays(tmp_path_factory):
    """Of both files: the photo of 40 x 60 lies in 64 x 64."""
    folder = make(tmp_path_factory.mktemp("formulas"))
    with reference_of(folder) as reference:
        tower = reference.backbone(dict(type="LastBlock", attention="qk"))
        mean, std = (np.array(values).reshape(3, 1, 1) for values in (tower.mean, tower.std))
        image = (reference.recipe.tiny_photo().permute(2, 0, 1).double().numpy() / 255 - mean) / std
        visual = tower.clip.visual
        drawn = torch.Generator().manual_seed(0)
        logits = (
            (16 * F.interpolate(2 * torch.randn(1, 4, 4, 4, generator=drawn), (16, 16), mode="bilinear"))
            .round()
            .clamp(-127, 127)
        )
        full = F.interpolate(logits / 16, (64, 64), mode="bilinear")[0, :, :40, :60]
        masks = full.sigmoid().double().numpy()  # whose threshold rounding must not move
        text = F.normalize(torch.randn(8, 16, generator=drawn), dim=1)
        embedding, void = torch.randn(4, 16, generator=drawn), 3 * text[-1:]
        words = text[:-1].double().numpy()

        def named(**shift):
            features = np.stack([feature_of(mask > 0.5, **shift) for mask in masks])
            return features, np.stack([softmax(100 * words @ feature) for feature in features])

        def feature_of(mask, **shift):
            return plain.feature(image, mask, visual, **shift)

        feature, p = named()
        shifted, p_shifted = named(ratio=0.5, blocks=(0, 2, 4, 6, 8))
        q = plain.head(embedding.double().numpy(), words, void[0].double().numpy(), 100)
        seen = np.isin(np.arange(7), (0, 2, 3, 6))
        w = np.where(seen, 0.3, 0.7)
        given = {
            "mask_logits_x16": logits[0].numpy().astype(np.int8),
            "embedding": embedding,
            "void": void,
            "text": text,
        }
        second = given | scored("clip_only", p, masks) | scored("head_only", q[:, :-1], masks)
        second |= scored("fused_w0.7_trained", q[:, :-1] ** (1 - w) * p**w, masks)
        boxes = [plain.box_of(mask > 0.5) for mask in masks]
        second |= {
            "clip_only.valid": np.ones(4, bool),
            "clip_only.box_xyxy": np.array([(c.start, r.start, c.stop, r.stop) for r, c in boxes], np.int16),
            "clip_only.crops": np.stack([plain.crop(image, mask > 0.5, 64)[:, ::28, ::28] for mask in masks]),
            "clip_only.feature": feature,
            "clip_only.mask_prob": masks[:, ::30, ::40],
        }
        third = scored(SHIFT, p_shifted, masks) | {f"{SHIFT}.feature": shifted}
        return {"stage_zsseg": second, "stage_scan": third}


def scored(tag: str, c: np.ndarray, masks: np.ndarray) -> dict[str, np.ndarray]:
    total = plain.mixture(c, masks)
    return {f"{tag}.semseg": total[:, ::16, ::16], f"{tag}.label": total.argmax(0).astype(np.uint8)}


def written(folder, arrays, **changes):
    make(folder)
    for name, parts in arrays.items():
        parts = {k: v.astype(np.float32) if v.dtype == np.float64 else v for k, v in as_arrays(parts).items()}
        np.savez(folder / f"{name}.npz", **(parts | {k: parts[k] + d for k, d in changes.items() if k in parts}))
    return folder


def as_arrays(parts):
    return {key: part.numpy() if isinstance(part, torch.Tensor) else part for key, part in parts.items()}


def test_what_the_formulas_make_fits(arrays, tmp_path):
    cases, unknown = read(written(tmp_path / "made", arrays))
    assert not unknown
    assert not [name for name, one in cases.items() if not one.fits]
    assert {"zsseg clip_only features", "zsseg fused_w0.7_trained scores", f"scan {SHIFT} features"} <= cases.keys()


@pytest.mark.parametrize(
    ("key", "by", "case"),
    [
        ("clip_only.feature", 1e-3, "zsseg clip_only features"),
        ("clip_only.crops", 1e-3, "zsseg clip_only crops"),
        ("clip_only.mask_prob", 1e-3, "zsseg clip_only masks"),
        ("clip_only.box_xyxy", 1, "zsseg clip_only boxes off"),
        ("fused_w0.7_trained.semseg", 1e-3, "zsseg fused_w0.7_trained scores"),
        ("head_only.label", 1, "zsseg head_only wrong labels"),
        (f"{SHIFT}.feature", 1e-3, f"scan {SHIFT} features"),
    ],
)
def test_what_is_off_is_found(key, by, case, arrays, tmp_path):
    changed = {key: np.int16(by) if by == 1 else np.float32(by)}
    assert off(written(tmp_path / "made", arrays, **changed)) == [case]


def test_without_the_proposals_nothing_is_known(arrays, tmp_path):
    folder = written(tmp_path / "made", arrays)
    (folder / "stage_zsseg.npz").unlink()
    assert read(folder)[1] == [f"stage_scan {SHIFT}.{part}" for part in ("semseg", "label", "feature")]
