"""Which cells of a grid are measured by one process: those of the same data and the same weights."""

from collections.abc import Sequence

from mmengine.config import Config

from ...errors import InputError
from ..group import data_of
from ..result import short_hash
from .cell import Request


def origin_of(config: Config) -> str:
    """Names what cells have in common that can share: the data, and the network whose end they read."""
    backbone = config.model.backbone
    return short_hash([data_of(config), *(backbone.get(key) for key in ("type", "arch", "pretrained"))])


def grouped(requests: Sequence[Request], most: int) -> list[list[Request]]:
    """The requests in groups of at most `most`, in order; what cannot be loaded stands alone, and says why later."""
    groups: dict[str, list[list[Request]]] = {}
    for request in requests:
        try:
            key = origin_of(request.load())
        except InputError:
            key = request.cell.key
        own = groups.setdefault(key, [[]])
        if len(own[-1]) == most:
            own.append([])
        own[-1].append(request)
    place = {request.cell.key: number for number, request in enumerate(requests)}
    return sorted((group for own in groups.values() for group in own), key=lambda group: place[group[0].cell.key])
