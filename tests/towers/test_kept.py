"""What is kept on a device is the same, kept once, and bounded."""

import torch
from second_device import DEVICE, SecondDevice

from sclip_seg.towers import kept


def squares(count: int) -> torch.Tensor:
    return torch.arange(count, dtype=torch.float32) ** 2


def test_it_is_copied_once(monkeypatch):
    monkeypatch.setattr(kept, "_kept", type(kept._kept)())
    with SecondDevice() as device:
        first, again, other = (kept.on(DEVICE, squares, count) for count in (5, 5, 6))
    assert first is again
    assert device.waits == {"from the host": 2}
    assert first.held.tolist() == squares(5).tolist()
    assert other.held.tolist() == squares(6).tolist()


def test_the_cpu_computes_as_before():
    assert torch.equal(kept.on(torch.device("cpu"), squares, 4), squares(4))
    assert not [key for key in kept._kept if key[0].type == "cpu"]


def test_no_more_is_kept_than_was_said(monkeypatch):
    monkeypatch.setattr(kept, "_kept", type(kept._kept)())
    monkeypatch.setattr(kept, "LARGEST", 4 * 25)
    with SecondDevice():
        for count in (10, 10, 10, 12, 9, 10):
            assert kept.on(DEVICE, squares, count).held.tolist() == squares(count).tolist()
            assert sum(tensor.nbytes for tensor in kept._kept.values()) <= kept.LARGEST
        assert kept.on(DEVICE, squares, 30).held.tolist() == squares(30).tolist()  # larger than all of it
    assert not kept._kept
