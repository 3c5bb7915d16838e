"""Which cells of a grid are measured by one process: those whose trunks see the same windows of the same pictures."""

from collections.abc import Sequence

from mmengine.config import Config

from ...errors import InputError
from ..group import data_of
from ..result import short_hash
from .cell import Request


def trunk_of(config: Config) -> str:
    """Names all that a picture goes through before a method reads it."""
    model = config.model
    trunk = {key: value for key, value in model.backbone.items() if key != "tail"}
    return short_hash([data_of(config), trunk, *(model.get(key) for key in ("short_side", "long_side", "window"))])


def grouped(requests: Sequence[Request], most: int) -> list[list[Request]]:
    """The requests in groups of at most `most`, in order; what cannot be loaded stands alone, and says why later."""
    groups: dict[str, list[list[Request]]] = {}
    for request in requests:
        try:
            key = trunk_of(request.load())
        except InputError:
            key = request.cell.key
        own = groups.setdefault(key, [[]])
        if len(own[-1]) == most:
            own.append([])
        own[-1].append(request)
    place = {request.cell.key: number for number, request in enumerate(requests)}
    return sorted((group for own in groups.values() for group in own), key=lambda group: place[group[0].cell.key])
