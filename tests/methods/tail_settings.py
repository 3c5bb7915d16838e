"""Every tail, with as few settings as it needs and stubs for second models."""

from stub_guide import StubGuide
from stub_regions import StubRegions


def tail_settings(name: str) -> dict:
    """A tail's own settings, as little as it needs."""
    guide = dict(type=StubGuide)
    needs = {"LastBlock": dict(attention="csa"), "Trident": dict(guide=guide, affinity=guide)}
    needs |= {name: dict(guide=guide, regions=dict(type=StubRegions)) for name in ("CorrCLIP", "CorrCLIPv2")}
    needs |= {name: dict(guide=guide) for name in ("ProxyCLIP", "GLACLIP", "FSA", "CASS")}
    return dict(type=name) | needs.get(name, {})
