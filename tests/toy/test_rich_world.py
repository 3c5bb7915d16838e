"""The rich world and what is said of it: the same whenever it is drawn, and true."""

import re
from pathlib import Path

import numpy as np
import pytest

from sclip_seg.toy import captions, make, pool, rich_world, world
from sclip_seg.toy.rich_world import GROUNDS, NAMES, THINGS, draw
from sclip_seg.words.vocabulary import Vocabulary

SCENES = [draw(0, index, 96, 128, (3, 8)) for index in range(12)]


def test_a_scene_is_the_same_whenever_it_is_drawn():
    again = draw(0, 5, 96, 128, (3, 8))
    assert np.array_equal(SCENES[5].image, again.image)
    assert np.array_equal(SCENES[5].stuff, again.stuff)
    assert not np.array_equal(SCENES[5].image, draw(0, 5, 96, 128, (3, 8), split="train").image)


def test_it_holds_what_was_asked_of_it():
    assert 20 <= len(THINGS) <= 30
    assert len(GROUNDS) == 8
    assert {*THINGS} > {*world.THINGS}
    assert {*GROUNDS} > {*world.GROUNDS}


def test_the_toy_lists_name_what_is_drawn():
    for name, drawn in (("toy", world), ("toy_rich", rich_world)):
        assert Vocabulary.load(name).classes == (drawn.GROUNDS, *((thing,) for thing in drawn.THINGS))
        assert Vocabulary.load(f"{name}_stuff").queries == drawn.THINGS + drawn.GROUNDS


@pytest.mark.parametrize("scene", SCENES)
def test_the_two_label_maps_of_a_scene_agree(scene):
    thing = scene.things > 0
    assert np.array_equal(scene.stuff[thing], scene.things[thing] - 1)
    assert scene.stuff[~thing].min() >= len(THINGS)
    assert scene.stuff.max() < len(NAMES)
    assert {*scene.thing_names} <= {THINGS[i - 1] for i in np.unique(scene.things) if i}
    assert scene.ground_names
    assert scene.image.shape == (96, 128, 3)


def test_things_are_small_and_large():
    sizes = [np.sqrt((scene.stuff == i).sum()) for scene in SCENES for i in np.unique(scene.stuff) if i < len(THINGS)]
    assert min(sizes) < 8
    assert max(sizes) > 35


@pytest.fixture(scope="module")
def small_pool(tmp_path_factory):
    """Eight scenes, drawn in this process."""
    folder = tmp_path_factory.mktemp("pool")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pool.multiprocessing, "get_context", lambda kind: Here())
        return pool.Pool(folder, seed=0, size=8)


class Here:
    """Stands for multiprocessing where a test needs no processes."""

    Pool = __enter__ = lambda self: self

    def __exit__(self, *error):
        return None

    def starmap(self, work, jobs, chunksize):
        return [work(*job) for job in jobs]


def test_a_batch_depends_on_its_seed_and_step_alone(small_pool):
    first, again, other = (pool.batch(small_pool, 0, step, 6, 32) for step in (3, 3, 4))
    assert first.told.captions == again.told.captions
    assert np.array_equal(first.pictures, again.pictures)
    assert np.array_equal(first.kept, again.kept)
    assert not np.array_equal(first.pictures, other.pictures)
    assert first.pictures.shape == (6, 3, 64, 64)
    assert first.kept.shape == (6, 32)
    assert pool.batch(small_pool, 0, 3, 6, 64).kept is None


def test_a_drawn_pool_is_not_drawn_again(small_pool, tmp_path):
    assert not small_pool.pictures.flags.writeable
    folder = Path(small_pool.pictures.filename).parents[1]
    assert np.array_equal(pool.Pool(folder, seed=0, size=8).labels, small_pool.labels)


def names_in(caption):
    words = {word for name in NAMES for word in (name, captions.PLURALS.get(name, f"{name}s"))}
    found = {word for word in words if re.search(rf"\b{word}\b", caption)}
    singular = {plural: name for name, plural in captions.PLURALS.items()}
    return {singular.get(word, word if word in NAMES else word.removesuffix("s")) for word in found}


def test_captions_name_what_is_said_and_say_what_is_seen(small_pool):
    several = 0
    views = [pool.batch(small_pool, 1, step, 16, 32).told for step in range(6)]
    parts = [pool.batch(small_pool, 1, step, 16, 64).parts.told for step in range(6)]
    for told in (*views, *parts):
        for caption, said, seen in zip(told.captions, told.said, told.seen, strict=True):
            # Templates have words of their own, such as "toy", but no name.
            assert captions.bits(sorted(names_in(caption), key=NAMES.index)) == said, caption
            assert said
            assert said & ~seen == 0
            several += int(said).bit_count() > 1
    assert several > 20


def test_places_are_said_as_they_are():
    stuff = np.full((64, 64), len(THINGS), np.uint8)
    stuff[10:20, 5:15], stuff[12:22, 40:52] = THINGS.index("lemon"), THINGS.index("book")
    assert captions._relation(stuff, "lemon", "book").format("a", "b") == "a to the left of b"
    assert captions._relation(stuff.T, "lemon", "book").format("a", "b") == "a above b"
    assert captions._counted(stuff, "lemon") == "a lemon"
    stuff[40:50, 5:15] = THINGS.index("lemon")
    assert captions._counted(stuff, "lemon") == "two lemons"


def test_the_rich_tree_is_drawn_by_name(tmp_path):
    out = tmp_path / "rich"
    assert make.main(["--world", "toy_rich", "--count", "2", "--out", str(out)]) == 0
    assert len([*out.rglob("*.png")]) == 6
    assert not make.make(out, 2, 0, "toy_rich")
    assert make.make(out, 2, 0), "another world is another tree"


def test_nothing_is_visible_of_what_is_too_small():
    stuff = np.full((64, 64), len(THINGS), np.uint8)
    stuff[:4, :4] = 0
    assert rich_world.visible(stuff) == ((), GROUNDS[:1])
    stuff[:4, :5] = 0
    assert rich_world.visible(stuff) == (THINGS[:1], GROUNDS[:1])
