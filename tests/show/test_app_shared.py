"""Several methods on the page: what they have in common is there once."""

from functools import partial

from sclip_seg.show.app.session import Session, Wish
from sclip_seg.towers.encoder import DenseCLIP
from sclip_seg.toy.world import draw

SCENE = draw(7, 1, 72, 90, count=(3, 4)).image


def test_methods_of_one_backbone_have_one_tower_which_runs_once(monkeypatch):
    """In labels and in attention alike; each is what it is alone (`test_app.py`)."""
    ran, trunk = [], DenseCLIP._run
    monkeypatch.setattr(DenseCLIP, "_run", lambda self, *a: ran.append(self) or trunk(self, *a))
    fresh = Session("cpu")
    towers = {id(fresh.model(method, "toy").model.backbone.clip) for method in ("sclip", "clip", "clearclip")}
    assert len(towers) == 1
    for ask in (partial(fresh.run, SCENE), partial(fresh.look, SCENE, (30, 40))):
        counts = []
        for methods in (("sclip",), ("sclip", "clip")):
            ran.clear()
            ask(Wish("tomato, brick", "sand", methods, "toy"))
            counts.append(len(ran))
        assert counts[0] == counts[1] > 0
