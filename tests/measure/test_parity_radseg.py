"""The readers of RADSeg. Their files are made here, of a RADIO of its own, by our code and by plain torch."""

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from made_parity import features, make, off, read, reference_of, stored
from mmseg.structures import SegDataSample

from sclip_seg.measure.parity.radseg import Read, radio_segmentor
from sclip_seg.methods.radseg_plus import sam_features

pytestmark = pytest.mark.filterwarnings("ignore:.*does not say how its weights were trained")
RECIPE = '''
"""A RADIO of 32 in 2 blocks, behind recipe.py."""

from argparse import Namespace

from recipe import EMB, drawn

W, HEADS, DEPTH, PATCH, GRID, REGISTERS, HIDDEN = 32, 2, 2, 16, 12, 2, 24
TEACHERS = ("clip", "siglip2", "sam")


def radio_state_dict():
    root, shapes = "base_model.patch_generator.", {}
    shapes |= {root + "embedder.weight": (W, 3 * PATCH**2), root + "pos_embed": (1, GRID**2, W)}
    shapes[root + "cls_token.token"] = (len(TEACHERS) + REGISTERS, W)
    for n in range(DEPTH):
        block = f"base_model.blocks.{n}."
        for name, out, width in (("attn.qkv", 3, 1), ("attn.proj", 1, 1), ("mlp.fc1", 4, 1), ("mlp.fc2", 1, 4)):
            shapes |= {f"{block}{name}.weight": (out * W, width * W), f"{block}{name}.bias": (out * W,)}
        for name in ("norm1.weight", "norm1.bias", "norm2.weight", "norm2.bias", "ls1.grandma", "ls2.grandma"):
            shapes[f"{block}{name}"] = (W,)
    for teacher in TEACHERS:
        for root in ("_heads", "_feature_projections"):
            name = f"{root}.{teacher}."
            shapes |= {name + "fc1.weight": (HIDDEN, W), name + "fc1.bias": (HIDDEN,)}
            shapes |= {name + "final.0.weight": (HIDDEN,), name + "final.0.bias": (HIDDEN,)}
            shapes |= {name + "final.2.weight": (EMB, HIDDEN), name + "final.2.bias": (EMB,)}
    return {name: 0.3 * drawn(name, *shape) + (len(shape) == 1) * 0.5 for name, shape in shapes.items()}


def radio_checkpoint():
    teachers = [dict(name=name, type="generic", use_summary=name != "sam") for name in TEACHERS]
    return dict(args=Namespace(teachers=teachers), state_dict=radio_state_dict())
'''
SCRA = dict(type="RADSeg")
WORDS = ["cat", "sky", "a_b, C!"]


@pytest.fixture
def folder(tmp_path):
    """With the recipe and a photo."""
    folder = make(tmp_path / "made")
    (folder / "recipe_radio.py").write_text(RECIPE)
    (folder / "photos").mkdir()
    with reference_of(folder) as reference:
        cv2.imwrite(str(folder / "photos" / "here.png"), reference.recipe.tiny_photo().numpy()[:, :, ::-1])
    return folder


def test_features_of_any_input(folder):
    cases = {
        "tall": SCRA,
        "plain.odd": SCRA | dict(attention="qk"),
        "scale4.small": SCRA | dict(attention=dict(type="scra", sharpness=4)),
    }
    arrays = {}
    with reference_of(folder) as reference:
        for head, tail in cases.items():
            arrays |= stored(head, features(reference, head.rpartition(".")[2], tail=tail, radio=True))
        older = dict(tail=SCRA, radio=True, positions="radio_corners")
        arrays |= stored("corners.odd", features(reference, "odd", **older))
        dense = reference.backbone(cases["plain.odd"], radio=True)
        trace = dense.trace(reference.input("odd"), blocks=(-1,))
        tokens, t = trace.hidden(-1)[0], trace.qkv(-1)
        theirs = [1, 0, 2, 3, 4]  # ours has the words' teacher first
        arrays["plain.odd.radio"] = tokens[5::7].numpy()
        arrays["plain.odd.backbone_summary"] = tokens[theirs][:2].flatten().numpy()
        arrays["plain.odd.summary"] = dense.clip.visual.head(tokens[:1])[0].numpy()
        arrays["plain.odd.sam"] = dense.clip.visual.sam(tokens[5:])[::7].numpy()
        place = [*theirs, *range(5, len(tokens))]
        weights = (t.q[0] @ t.k[0].mT * t.scale).softmax(-1)
        arrays["plain.odd.first_rows"] = weights[:, place][:, :, place][:, ::49].numpy()
        state = {
            name.removeprefix("_feature_projections.siglip2."): tensor
            for name, tensor in reference.radio.radio_state_dict().items()
            if name.startswith("_feature_projections.siglip2.")
        }
        x = F.linear(tokens[5:], state["fc1.weight"], state["fc1.bias"])
        x = F.gelu(F.layer_norm(x, x.shape[1:], state["final.0.weight"], state["final.0.bias"]))
        arrays["plain.odd.features"] = F.linear(x, state["final.2.weight"], state["final.2.bias"])[::7].numpy()
    path = folder / "visual_radseg.npz"
    np.savez(path, **arrays)
    found, unknown = read(folder)
    assert (len(found), off(folder), unknown) == (14, [], [])
    np.savez(path, **arrays | {"corners.odd": arrays["plain.odd"], "strange7.tall": arrays["tall"]})
    assert off(folder) == ["radseg corners.odd"]
    assert read(folder)[1] == ["visual_radseg strange7.tall"]


def test_steps_of_a_picture(folder):
    """The parts of `wide2` in their files' thinness, with a threshold that nobody wrote down, and one that is there."""
    with reference_of(folder) as reference:
        words = dict(strings=np.array(WORDS), sizes=np.array([[61, 75, 24, 32, 96, 96], [48, 72, 24, 32, 48, 72]]))
        changes = {"model.vocabulary": [[word] for word in WORDS], "model.short_side": None}
        changes["model.window"] = dict(crop=336, stride=224)
        model = radio_segmentor(reference, "voc20", "none", **changes)
        image = reference.input("wide2")[0]
        (picture,) = model.look([image], [SegDataSample(metainfo=dict(ori_shape=tuple(image.shape[1:])))])
        cells = picture.gathered[0].flatten(1).T  # one window
        unit = F.normalize(cells, dim=1)
        cosine = unit @ unit.T
        similar = 10 * (cosine - cosine.mean())
        g = similar.masked_fill(similar < 0, -torch.inf).softmax(1)
        named = F.normalize(model.backbone.clip.visual.head(g @ cells), dim=1) @ model.text.features.T
        p = (100 * named).softmax(1).T.unflatten(1, (21, 21))
        large = F.interpolate(p[None], tuple(image.shape[1:]), mode="bilinear")[0]
        best = large.amax((1, 2))
        arrays = {
            "boxes": np.array([[0, 0, 21, 21]]),
            "grid": np.array([21, 21]),
            "stitched": cells[::5].numpy(),
            "mean_cosine": cosine.mean().numpy(),
            "scga_rows": g[::149].numpy(),
            "scga": (g @ cells)[::5].numpy(),
            "cells": p.numpy(),
            "class_max": best.numpy(),
        }
        variants = {"wide2": 0.5, "wide2.thr": 0.996, "wide2.between": float(best.sort().values[1]) + 1e-3}
        stage = {"wide2.sam": sam_features(model.backbone, image, 1024)[0][:, ::3, ::3].numpy()}
        stage |= words | {"wide2.sam_size": np.array([112 * 64 // 160 * 16, 1024])}
        stage |= {"text": 2 * model.text.features.numpy(), "wide2.between.threshold": variants["wide2.between"]}
        for head, threshold in variants.items():
            kept = large * (best >= threshold)[:, None, None]
            own = arrays | dict(final=kept[:, ::16, ::16].numpy(), label=kept.argmax(0).numpy().astype(np.uint8))
            stage |= {f"{head}.{part}": array for part, array in own.items()}
    path = folder / "stage_radseg.npz"
    np.savez(path, **stage)
    found, unknown = read(folder)
    assert (off(folder), unknown) == ([], [])
    assert len(found) == 3 + 3 * 10 + 2
    np.savez(path, **stage | {"wide2.scga": stage["wide2.stitched"], "wide2.between.final": stage["wide2.final"] + 1})
    assert off(folder) == ["radseg wide2 scga", "radseg wide2.between after some left"]


def test_a_segmentor_at_a_resolution(folder):
    """Another dataset and another resolution than the shared folder's."""
    with reference_of(folder) as reference:
        model = radio_segmentor(reference, "voc20", "low")
        assert (model.data_preprocessor.short_side, model.window["crop"], model.window["stride"]) == (336, 224, 112)
        read_of = Read(model, folder / "photos" / "here.png")
        seen = read_of()
        classes = seen.published
        arrays = {
            "strings": np.array(model.vocabulary.queries),
            "text": 0.5 * model.text.features.numpy(),
            "here.label": seen.labels.numpy(),
            "here.maxprob": classes.amax(0)[::8, ::8].numpy(),
            "here.prob": classes[:, ::64, ::64].numpy(),
            "here.classmax": classes.amax((1, 2)).numpy(),
            "here.size": np.array(read_of.picture.fitted.shape[1:]),
        }
    path = folder / "e2e_radseg_voc20_low.npz"
    np.savez(path, **arrays)
    found, unknown = read(folder)
    assert (len(found), off(folder), unknown) == (7, [], [])
    np.savez(path, **arrays | {"here.size": np.array([336, 561]), "here.prob": arrays["here.prob"] + 1e-3})
    assert off(folder) == [f"radseg on voc20_low, here: {what}" for what in ("probabilities", "wrong sides")]
