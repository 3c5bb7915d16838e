"""The deep toy CLIP's training: stopped and gone on with it is the same, and its losses are what they say."""

import argparse
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from sclip_seg.errors import InputError
from sclip_seg.towers import checkpoint, weights
from sclip_seg.towers.layouts import EMBEDDING, HEARD, as_open_clip
from sclip_seg.toy import curve, pool, train12
from sclip_seg.toy.rich_world import THINGS


class Drawn:
    """Four plain scenes in memory."""

    def __init__(self, folder, seed, size):
        random = np.random.default_rng(seed)
        self.pictures = random.integers(0, 256, (4, pool.SIDE, pool.SIDE, 3), dtype=np.uint8)
        self.labels = np.full((4, pool.SIDE, pool.SIDE), len(THINGS), np.uint8)
        for index in range(4):
            self.labels[index, 30:100, 30:100] = index


def options(work, steps, resume=False, **other):
    given = dict(work=work, steps=steps, resume=resume, batch=4, pool=4, seed=0, precision="fp32", threads=1)
    return argparse.Namespace(**given | dict(told=1, kept=1, probed=100) | other)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Three steps at once, and two with a third after it was stopped."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train12, "Pool", Drawn)
        patch.setattr(train12, "probe", lambda folder, state: {"clip": 1.0, "sclip": 2.0})
        whole, parts = (tmp_path_factory.mktemp(name) for name in ("whole", "parts"))
        straight = train12.Training(options(whole, 3, kept=100))
        straight.run()
        first = train12.Training(options(parts, 3))
        step, first.step = first.step, lambda batch: step(batch) if first.descent.taken < 2 else stop()
        with pytest.raises(KeyboardInterrupt):
            first.run()
        second = train12.Training(options(parts, 3, resume=True))
        second.run()
        yield straight, second


def stop():
    raise KeyboardInterrupt


def test_a_stopped_training_goes_on_to_the_same_weights(trained):
    straight, second = trained
    assert second.descent.taken == 3
    for (name, one), (_, other) in zip(straight.state().items(), second.state().items(), strict=True):
        assert torch.equal(one, other), name
    assert [line.get("loss") for line in straight.log] == [line.get("loss") for line in second.log]


def test_the_log_is_kept_and_drawn(trained):
    folder = trained[1].folder
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2, 3, 3]
    assert lines[-1]["miou"] == {"clip": 1.0, "sclip": 2.0}
    assert "mIoU of held-out scenes" in (folder / "log.svg").read_text()
    curve.draw([], folder / "empty.svg")
    assert (folder / "empty.svg").is_file()


def test_a_training_is_not_begun_over_another_nor_gone_on_with_otherwise(trained, tmp_path):
    folder = trained[0].folder
    with pytest.raises(InputError, match="go on with it by --resume"):
        train12.Training(options(folder, 3))
    with pytest.raises(InputError, match="was begun with"):
        train12.Training(options(folder, 3, resume=True, batch=5))
    with pytest.raises(InputError, match="no training in"):
        train12.Training(options(tmp_path, 3, resume=True))


def test_what_is_true_besides_is_no_negative():
    said, seen = np.array([0b01, 0b10, 0b01]), np.array([0b11, 0b10, 0b01])
    own, ignored = (torch.from_numpy(relation) for relation in train12.relations(said, seen))
    assert own.tolist() == [[True, False, True], [False, True, False], [True, False, True]]
    assert ignored.tolist() == [[False, True, False], [False] * 3, [False] * 3]
    logits = torch.tensor([[2.0, 9.0, 2.0], [0.0, 3.0, 0.0], [1.0, 0.0, 1.0]])

    def nats(values, own):
        """Of the softmax over the values, from a target spread over those that are a view's own."""
        shares = np.exp(values) / np.exp(values).sum()
        return -np.mean([np.log(shares[i]) for i in own])

    # The first view's 9 is of a caption that is true of it.
    rows = nats([2, 2], [0, 1]) + nats([0, 3, 0], [1]) + nats([1, 0, 1], [0, 2])
    columns = nats([2, 0, 1], [0, 2]) + nats([3, 0], [0]) + nats([2, 0, 1], [0, 2])
    assert train12.contrastive_loss(logits, own, ignored).item() == pytest.approx((rows + columns) / 6, abs=1e-4)


@pytest.fixture
def parts():
    """Of two views: the left half, read at the end, and of one picture the whole."""
    inside = np.zeros((2, 8, 8), bool)
    inside[0, :, :4] = inside[1] = True
    told = pool.Told(["a lemon on sand", "two books."], np.array([1, 2]), np.array([1, 2]))
    return pool.Parts(inside.reshape(2, 64), told, 11, 5)


def test_the_towers_read_as_open_clip_reads(trained, parts):
    model, tokenizer = trained[0].model.eval(), trained[0].tokenizer
    pictures = torch.randn(2, 3, 64, 64, generator=torch.manual_seed(0))
    tokens = tokenizer(["a lemon on sand", "two books."])
    with torch.no_grad():
        every, whole = torch.arange(64).expand(2, -1), model.encode_image(pictures)
        for kept, told in ((every, None), (None, parts)):
            assert torch.allclose(train12.encode_pictures(model, pictures, kept, told).of[0][0], whole, atol=1e-5)
        assert torch.allclose(train12.encode_captions(model, tokens[:, :8]), model.encode_text(tokens), atol=1e-5)


def test_what_all_patches_share_is_the_mean_cosine_of_any_two(trained, parts):
    model, after = trained[0].model.eval(), []
    pictures = torch.randn(2, 3, 64, 64, generator=torch.manual_seed(2))
    blocks = model.visual.transformer.resblocks[:-1]
    hooks = [block.register_forward_hook(lambda module, given, out: after.append(out[:, 1:])) for block in blocks]
    with torch.no_grad():
        shared = train12.encode_pictures(model, pictures, None, parts).shared
    for hook in hooks:
        hook.remove()
    rows = [tokens.flatten(0, 1).double() for tokens in after]
    cosines = [torch.cosine_similarity(of[:, None], of[None], dim=-1).mean() for of in rows]
    assert len(cosines) == 11
    assert shared.item() == pytest.approx(np.mean(cosines), abs=1e-5)
    assert train12.encode_pictures(model, pictures, torch.arange(64).expand(2, -1), None).shared == 0


@pytest.mark.parametrize("depth", [6, 8, 11])
def test_the_cooldown_reads_values_as_attention_that_sees_itself_only(trained, parts, depth):
    """Of the view with the rest of the last block; of a part, after any depth, without; beside another's tokens too."""
    model, seen = trained[0].model.eval(), {}
    pictures = torch.randn(2, 3, 64, 64, generator=torch.manual_seed(1))
    visual, last = model.visual, model.visual.transformer.resblocks[-1]
    hooks = [
        visual.transformer.resblocks[of].register_forward_pre_hook(
            lambda module, given, of=of: seen.update({of: given[0]})
        )
        for of in (depth, 11)
    ]
    with torch.no_grad():
        read = train12.encode_pictures(model, pictures, None, replace(parts, depth=depth))
        for hook in hooks:
            hook.remove()

        def values(tokens):
            normed = last.ln_1(tokens[:, 1:])
            return last.attn(normed, normed, normed, attn_mask=~torch.eye(64, dtype=torch.bool))[0]

        def joint(tokens):
            return visual.ln_post(tokens) @ visual.proj

        (_, whole), (alone, among) = read.of
        patches = seen[11][:, 1:] + values(seen[11])
        patches = patches + last.mlp(last.ln_2(patches))
        torch.testing.assert_close(whole, joint(patches).mean(1), rtol=1e-4, atol=1e-5)
        bare = values(seen[depth]).unflatten(1, (8, 8))
        means = torch.stack([bare[0, :, :4].mean((0, 1)), bare[1].mean((0, 1))])
        others = seen[depth].flip(0)
        expected = joint(means + others[:, 0] + train12.BESIDE * others[:, 1 + 5])
        torch.testing.assert_close(among, expected, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(alone, joint(means), rtol=1e-4, atol=1e-5)


def test_a_part_is_a_rectangle_and_told_of_what_it_shows():
    drawn = Drawn(None, 0, 4)
    drawn.labels[:, :, 64:] = len(THINGS) + 1  # another ground on the right
    whole = [pool.batch(drawn, 0, step, 4, 64) for step in range(30)]
    told_less = 0
    for given in whole:
        assert given.kept is None
        assert given.parts.depth in pool.DEPTHS
        for inside, said, seen, of_all in zip(
            given.parts.inside.reshape(-1, 8, 8),
            given.parts.told.said,
            given.parts.told.seen,
            given.told.seen,
            strict=True,
        ):
            rows, columns = (np.flatnonzero(inside.any(axis)) for axis in (1, 0))
            assert len(rows) >= pool.LEAST
            assert len(columns) >= pool.LEAST
            assert inside.sum() == len(rows) * len(columns) == (np.ptp(rows) + 1) * (np.ptp(columns) + 1)
            assert said & ~seen == 0
            told_less += bool(of_all & ~seen)
    assert told_less > 10
    assert {given.parts.depth for given in whole} > {11}
    again = pool.batch(drawn, 0, 7, 4, 64).parts
    assert np.array_equal(again.inside, whole[7].parts.inside)
    assert again.told.captions == whole[7].parts.told.captions
    assert again.beside == whole[7].parts.beside
    assert len({given.parts.beside for given in whole}) > 10
    assert pool.batch(drawn, 0, 7, 4, 32).parts is None


def test_what_is_shipped_is_small_and_read_as_it_was(trained, tmp_path):
    training = trained[0]
    save_file(training.state(), tmp_path / "toy12.safetensors")
    assert (tmp_path / "toy12.safetensors").stat().st_size < 15e6
    model = weights.build_clip("toy12")
    weights.load(model, checkpoint.read(tmp_path / "toy12.safetensors"), tmp_path / "toy12.safetensors", "toy12")
    own = training.model.state_dict()
    for name, tensor in model.state_dict().items():
        if name != "token_embedding.weight":
            assert torch.equal(tensor, own[name].half().float()), name
    heard = torch.zeros(len(model.token_embedding.weight), dtype=torch.bool)
    heard[sorted(training.heard)] = True
    assert torch.equal(model.token_embedding.weight[heard], own["token_embedding.weight"][heard].half().float())
    assert not model.token_embedding.weight[~heard].any()


@pytest.mark.parametrize(
    ("heard", "message"),
    [([1], "embeddings for"), ([1, 49408], "has not"), ([0.5, 1.0], "embeddings for"), ([-1, 0], "has not")],
)
def test_a_file_whose_tokens_do_not_fit_is_refused(heard, message):
    state = {"visual.class_embedding": torch.zeros(2), EMBEDDING: torch.zeros(2, 3), HEARD: torch.tensor(heard)}
    with pytest.raises(InputError, match=message):
        as_open_clip(state, Path("a.safetensors"))
    with pytest.raises(InputError, match="without"):
        as_open_clip({key: value for key, value in state.items() if key != EMBEDDING}, Path("a.safetensors"))
