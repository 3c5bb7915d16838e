"""The names that modules had before the shelves."""

import importlib
import sys

import pytest

import sclip_seg
from sclip_seg.moved import PLACES


@pytest.mark.parametrize("name", [*PLACES, "refine.step", "prepare.verify"])
def test_an_old_name_is_the_module_itself(name):
    first, *below = name.split(".")
    place = ".".join(["sclip_seg", PLACES[first], *below])
    if first == "app":
        pytest.importorskip("gradio", reason="the page needs gradio: pip install .[app]")
    old = f"sclip_seg.{name}"
    sys.modules.pop(old, None)
    with pytest.warns(DeprecationWarning, match=f"{old} is {place} now"):
        module = importlib.import_module(old)
    assert module is importlib.import_module(place)
    assert (module.__name__, module.__spec__.name) == (place, place)


def test_no_other_name_is_found():
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("sclip_seg.no_such_thing")
    assert not hasattr(sclip_seg, "no_such_thing")
