"""What there is to choose: methods, datasets and backbones, by the names of their config files. No config is read."""

from pathlib import Path

from .errors import InputError, near
from .handed_in import existing

PLACES = (Path(__file__).with_name("configs"), Path(__file__).parents[1] / "configs")  # installed; in a source tree
CONFIGS = next((place for place in PLACES if place.is_dir()), PLACES[0])


def choices(folder: Path) -> dict[str, list[str]]:
    """What lies in a config folder: names of methods, datasets and backbones."""
    return {
        "method": names_in(folder),
        "dataset": names_in(folder / "_base_" / "datasets"),
        "backbone": names_in(folder / "_base_" / "backbones"),
    }


def names_in(folder: Path) -> list[str]:
    """The configs of a folder; a name that begins with _ is not for choosing."""
    return sorted(path.stem for path in folder.glob("*.py") if not path.stem.startswith("_"))


def method_file(method: str | Path) -> Path:
    """The config of a method. Raises InputError as `config_file` does."""
    return config_file(method, CONFIGS, "method")


def config_file(name: str | Path, folder: Path, kind: str) -> Path:
    """A config: by its name among those of `folder`, which are of a `kind`, or by the path of one of one's own.

    Raises:
        InputError: no such name or file (with the near ones).
    """
    given = Path(name)
    if given.name == given.stem == str(name):
        have = names_in(folder)
        if name not in have:
            raise InputError(f"there is no {kind} {name!r}{near(str(name), have)}")
        return folder / f"{name}.py"
    path = existing(name)
    if not path.is_file():
        raise InputError(f"there is no config {path}{near(path.stem, names_in(path.parent))}")
    return path
