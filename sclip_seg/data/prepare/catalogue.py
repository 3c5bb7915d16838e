"""What each benchmark needs under `data/`; the facts are in the files of facts/."""

from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import yaml
from mmengine.config import Config

from ...choices import names_in
from ...errors import InputError, near

FOLDER = Path(__file__).parent / "facts"
DATA = "data/"  # where the folders of every dataset config begin
DOWNLOADS = "downloads"  # below it


@dataclass(frozen=True)
class Archive:
    """A zip or tar archive: its folder `inside` belongs at `to` under data/, and `holds` is there afterwards.

    It is fetched from `url`, or lies `within` what another archive has put under data/. `gigabytes` are of the archive
    and of what is unpacked from it, roughly, 0 where nobody says it; `checksum` is `md5:...` or `sha1:...`.
    """

    url: str = ""
    to: str = ""
    inside: str = ""
    holds: str = ""
    checksum: str = ""
    gigabytes: tuple[float, float] = (0.0, 0.0)
    within: str = ""

    @property
    def file(self) -> str:
        """The name of the downloaded file."""
        return PurePosixPath(self.within or self.url).name

    @property
    def place(self) -> str:
        """Where that lies under data/."""
        return self.within or f"{DOWNLOADS}/{self.file}"

    def is_unpacked(self, data: Path) -> bool:
        """Whether its content is in place."""
        place = data / self.to / self.holds
        return place.is_file() or (place.is_dir() and any(place.iterdir()))


@dataclass(frozen=True)
class Benchmark:
    """One dataset name: how many pictures it has, its archives, what a person must fetch, its label conversion.

    `terms` are its licence in few words, and where they stand; `login`: it is given to those who register or ask.
    """

    pictures: int | None = None
    terms: str = ""
    login: bool = False
    archives: tuple[Archive, ...] = ()
    by_hand: dict = field(default_factory=dict)
    convert: dict = field(default_factory=dict)


def load_catalogue(folder: Path | None = None) -> dict[str, Benchmark]:
    """Every benchmark that there are facts about, by the name of its dataset config."""
    facts = load_facts(folder or FOLDER)
    archives = {
        name: Archive(**{**fields, "gigabytes": tuple(fields.get("gigabytes", (0.0, 0.0)))})
        for name, fields in facts["archives"].items()
    }
    return {
        name: Benchmark(**{**fields, "archives": tuple(archives[key] for key in fields.get("archives", ()))})
        for name, fields in facts["benchmarks"].items()
    }


def load_facts(folder: Path) -> dict[str, dict]:
    """`archives` and `benchmarks` of all the files of a folder, as plain data."""
    facts: dict[str, dict] = {"archives": {}, "benchmarks": {}}
    for path in sorted(folder.glob("*.yaml")):
        for kind, entries in yaml.safe_load(path.read_text(encoding="utf-8")).items():
            facts[kind] |= entries
    return facts


def load_dataset(folder: Path, name: str, data: Path) -> dict:
    """The dataset config NAME of a config folder, with `data` in the place of data/. Raises InputError."""
    path = folder / f"{name}.py"
    if not path.is_file():
        raise InputError(f"there is no dataset {name!r}{near(name, names_in(folder))}")
    try:
        dataset = Config.fromfile(path).dataset.to_dict()
    except Exception as error:
        raise InputError(f"the config {path} does not load: {type(error).__name__}: {error}") from error
    root = dataset.get("data_root") or ""
    if root.startswith(DATA):
        dataset["data_root"] = str(data / root.removeprefix(DATA))
    return dataset
