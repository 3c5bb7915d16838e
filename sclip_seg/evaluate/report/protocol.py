"""How a run departs from its method's own config, and which runs may share a row and an average."""

import json
from pathlib import Path

from ...config import CONFIGS, load_config, names_in
from ...errors import InputError
from .gather import Result

# What a method's own config may change from one benchmark to the next is not among these.
SHARED = ("method", "backbone", "act", "positions", "templates", "guides", "regions", "memory", "precision", "version")
# Only speed, memory and places.
APART = ("text_cache", "window.batch", "backbone.compile", "backbone.folder", "precision", "type")


class OwnProtocols:
    """The methods' configs as they are shipped, each loaded once."""

    def __init__(self, configs: Path = CONFIGS) -> None:
        self.configs = configs
        self.loaded: dict[tuple[str, str, str], dict | None] = {}

    def departures(self, result: Result) -> tuple[str, ...] | None:
        """`key=value` for each setting of the model that is not the method's own; None where it is not known."""
        cell = (result.method, result.dataset, result.backbone)
        if cell not in self.loaded:
            self.loaded[cell] = self._load(*cell)
        own, run = self.loaded[cell], settings_of(result.config)
        if own is None or run is None:
            return None
        own, run = flatten(own), flatten(run)
        keys = [key for key in sorted({*own, *run}) if key not in APART and own.get(key) != run.get(key)]
        return tuple(f"{key}={show(run[key]) if key in run else '(none)'}" for key in keys if not is_file(key, run))

    def _load(self, method: str, dataset: str, backbone: str) -> dict | None:
        path = self.configs / f"{method}.py"
        if method not in names_in(self.configs):  # it stands in a file of others: a name, and no path
            return None
        try:
            config = load_config(str(path), dataset, backbone).to_dict()
        except InputError:
            return None
        return settings_of(json.loads(json.dumps(config, default=str)))


def settings_of(config: dict) -> dict | None:
    """What moves a score: the model, and the steps of the dataset's pipeline. None where a config has no such parts."""
    try:
        return {**config["model"], "pipeline": config["test_dataloader"]["dataset"]["pipeline"]}
    except (KeyError, TypeError):
        return None


def is_file(key: str, run: dict) -> bool:
    """Whether the setting names a file of weights, whose digest stands in the signature."""
    value = run.get(key)
    return key.endswith("pretrained") and isinstance(value, str) and ("/" in value or value.endswith(".safetensors"))


def flatten(settings: dict, prefix: str = "") -> dict[str, object]:
    """Nested dicts as `a.b.c -> value`."""
    flat: dict[str, object] = {}
    for key, value in settings.items():
        if isinstance(value, dict):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def show(value: object) -> str:
    """A setting in short."""
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "..."


def row_key(result: Result, departures: tuple[str, ...] | None) -> tuple:
    """What the cells of one row have in common; equal for runs of one protocol on any benchmark."""
    fields = result.protocol
    shared = tuple((key, fields.get(key, "none")) for key in SHARED)  # a field that came later was off before
    tail = fields.get("tail", "").partition("(")[0]
    shared += (("labels", "all" if fields.get("labels", "all") == "all" else "own"),)
    if departures is None:  # the method's own config is not known: nothing is taken for the benchmark's
        tail = fields.get("tail", "")
        shared += tuple((key, fields.get(key, "none")) for key in ("scale", "refine"))
    return result.method, result.backbone, (*shared, ("tail", tail)), departures
