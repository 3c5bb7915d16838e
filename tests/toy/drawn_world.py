"""The drawn benchmark, and how it is evaluated here."""

import pytest

from sclip_seg.toy.make import make

PICTURES = 12
QUIET = ("test_dataloader.num_workers=0", "model.text_cache=None")


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A working folder with the drawn benchmark under data/toy."""
    folder = tmp_path_factory.mktemp("world")
    assert make(folder / "data" / "toy", count=PICTURES, seed=0)
    assert not make(folder / "data" / "toy", count=PICTURES, seed=0), "a complete tree is not drawn again"
    return folder
