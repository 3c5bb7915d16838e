"""One cell of a grid: what is to be measured, where its result lies, and whether it is there already."""

import json
from dataclasses import dataclass
from pathlib import Path

from mmengine.config import Config

from ...axes import short
from ...config import load_config
from ...data.check import check_dataset
from ...data.digest import digest_of
from ...errors import InputError
from ...options import parse_options
from ..result import code_digest, config_digest, short_hash

RESULT = {"miou", "images", "images_in_dataset", "partial", "config_digest"}


@dataclass(frozen=True)
class Cell:
    """A method (a config's name) on a dataset with a backbone; a variant is the method with `options` of its own."""

    method: str
    dataset: str
    backbone: str
    variant: str | None = None
    options: tuple[str, ...] = ()

    @property
    def row(self) -> str:
        """METHOD or METHOD-VARIANT."""
        return f"{self.method}-{self.variant}" if self.variant else self.method

    @property
    def key(self) -> str:
        """METHOD[-VARIANT]/BACKBONE/DATASET: the cell's name, and its folder below the grid's."""
        return f"{self.row}/{short(self.backbone)}/{short(self.dataset)}"


@dataclass(frozen=True)
class Request:
    """A cell to be measured: by which configs, into which folder, with the options of the whole grid.

    `labels`: the predicted label maps are kept, in the folder `labels` beside the result.
    """

    cell: Cell
    root: Path
    configs: Path
    limit: int | None = None
    options: tuple[str, ...] = ()
    labels: bool = False

    @property
    def folder(self) -> Path:
        """Where `result.json` is written."""
        return self.root / self.cell.key

    @property
    def config(self) -> Path:
        """The method's file."""
        return self.configs / f"{self.cell.method}.py"

    def arguments(self, resume: bool) -> list[str]:
        """What `sclip-seg test` is called with."""
        cell = self.cell
        named = [str(self.config), "--dataset", cell.dataset, "--backbone", cell.backbone]
        named += ["--work-dir", str(self.folder)]
        named += ["--limit", str(self.limit)] if self.limit else []
        named += ["--out", str(self.folder / "labels")] if self.labels else []
        named += ["--resume"] if resume else []
        options = [*cell.options, *self.options]
        return [*named, "--cfg-options", *options] if options else named

    def load(self) -> Config:
        """The resolved config. Raises InputError."""
        cell = self.cell
        return load_config(self.config, cell.dataset, cell.backbone, parse_options([*cell.options, *self.options]))

    def record(self, config: Config) -> dict:
        """What a run belongs to, kept as `cell.json` beside its result."""
        cell = self.cell
        return {
            **dict(method=cell.method, variant=cell.variant, backbone=cell.backbone, dataset=cell.dataset),
            **dict(limit=self.limit, labels=self.labels, cfg_options=[*cell.options, *self.options]),
            "config_digest": config_digest(config),
            "code": code_digest(),
        }

    def recorded(self) -> dict:
        """The `cell.json` of the run that began here last; empty where there is none that can be read."""
        return _read(self.folder / "cell.json") or {}

    def result(self) -> dict | None:
        """The `result.json` that lies here, whatever it was measured with; None where there is no whole one."""
        result = _read(self.folder / "result.json")
        return result if result and result.keys() >= RESULT else None

    def finished(self, config: Config, total: int | None, digests: dict[str, str] | None = None) -> dict | None:
        """The result of this very config on these very pictures; `total` None: data that is not there any more.

        A result that states no digest of its data is older than these digests and known by the number of pictures.
        `digests` keeps those that were asked for.
        """
        result = self.result()
        if not result or (self.labels and not any((self.folder / "labels").rglob("*.png"))):
            return None
        stated = result["images_in_dataset"] if total is None else total
        wanted = min(self.limit or stated, stated)
        config = self._limited(config, wanted, stated)
        same = (result["images"], result["images_in_dataset"]) == (wanted, stated)
        if not same or result["config_digest"] != config_digest(config):
            return None
        data = result.get("data")
        if total is None or not isinstance(data, dict):
            return result
        dataset, digests = config.test_dataloader.dataset.to_dict(), {} if digests is None else digests
        key = short_hash(dataset)
        digests[key] = digests.get(key) or digest_of(dataset)
        return result if data.get("digest") == digests[key] else None

    @staticmethod
    def _limited(config: Config, wanted: int, total: int) -> Config:
        if wanted == total:
            return config
        part = Config(config.to_dict())
        part.test_dataloader.dataset.indices = wanted
        return part

    def check_overwrite(self) -> None:
        """Raises InputError where the first N pictures would replace a result of all of them."""
        result = self.result()
        if self.limit and result and not result["partial"] and self.limit < result["images_in_dataset"]:
            raise InputError(
                f"{self.folder} holds a result of all {result['images']} pictures, which --limit {self.limit} would "
                "replace; choose another --work-dir"
            )


def _read(path: Path) -> dict | None:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def count_pictures(config: Config, counted: dict[str, int | InputError]) -> int:
    """Pictures of the config's dataset, counted once for each. Raises InputError where its tree is not complete."""
    dataset = config.test_dataloader.dataset.to_dict()
    key = short_hash(dataset)
    if key not in counted:
        try:
            counted[key] = check_dataset(dataset)
        except InputError as error:
            counted[key] = error
    if isinstance(counted[key], InputError):
        raise counted[key]
    return counted[key]
