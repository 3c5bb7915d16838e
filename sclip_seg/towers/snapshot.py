"""Folders and repositories of the hub that hold a model: `hf-hub:OWNER/NAME`, `local-dir:FOLDER`, a folder's path.

The weights' file is found, and the JSON beside it is read for what it says of the model. Nothing else in a folder is
looked at, and nothing is run.
"""

import json
from pathlib import Path

from huggingface_hub import hf_hub_download, try_to_load_from_cache
from huggingface_hub.utils import HFValidationError

from ..errors import InputError

HUB, LOCAL = "hf-hub:", "local-dir:"
OPEN_CLIP = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")  # in the order that open_clip tries
TRANSFORMERS = (
    *("model.safetensors", "model.safetensors.index.json"),
    *("pytorch_model.bin", "pytorch_model.bin.index.json"),
)
CONFIGS = ("open_clip_config.json", "config.json", "preprocessor_config.json")


def is_named(name: str) -> bool:
    """Whether a model is named by open_clip's syntax for the hub or a folder."""
    return name.startswith((HUB, LOCAL))


def weights_in(name: str) -> Path:
    """The weights' file of `hf-hub:OWNER/NAME` (downloaded when it is not here), `local-dir:FOLDER` or a folder.

    Raises:
        InputError: no such folder or repository, no weights of a known name in it, no connection.
    """
    if name.startswith(HUB):
        return from_hub(name.removeprefix(HUB), (*OPEN_CLIP, *TRANSFORMERS), CONFIGS)
    folder = folder_of(name)
    found = next((folder / file for file in (*OPEN_CLIP, *TRANSFORMERS) if (folder / file).is_file()), None)
    if found is not None:
        return found
    others = sorted(path for path in folder.iterdir() if path.suffix in (".safetensors", ".bin", ".pt", ".pth"))
    if len(others) == 1 and others[0].is_file():
        return others[0]
    several = f"; it has {', '.join(path.name for path in others[:4])}: name one of them" if others else ""
    raise InputError(f"the folder {folder} has no weights under a known name ({', '.join(OPEN_CLIP)}, ...){several}")


def on_disk(name: str, files: tuple[str, ...] = (*OPEN_CLIP, *TRANSFORMERS)) -> Path | None:
    """The weights' file of a folder, or of a repository (`OWNER/NAME`, `hf-hub:`) that was fetched before."""
    if name.startswith(LOCAL) or Path(name).expanduser().is_dir():
        try:
            return weights_in(name)
        except InputError:
            return None
    repository, _, revision = name.removeprefix(HUB).partition("@")
    try:
        found = (try_to_load_from_cache(repository, file, revision=revision or None) for file in files)
        return next((Path(path) for path in found if isinstance(path, str)), None)
    except HFValidationError:
        return None


def folder_of(name: str) -> Path:
    """The folder that is meant; of the hub's cache (`models--OWNER--NAME`) the snapshot that `main` stands for."""
    folder = Path(name.removeprefix(LOCAL)).expanduser()
    if not folder.is_dir():
        raise InputError(f"there is no folder {folder}")
    if not (folder / "snapshots").is_dir():
        return folder
    main, all_of_them = folder / "refs" / "main", sorted(p for p in (folder / "snapshots").iterdir() if p.is_dir())
    if main.is_file() and (meant := folder / "snapshots" / main.read_text(encoding="utf-8").strip()) in all_of_them:
        return meant
    if len(all_of_them) != 1:
        raise InputError(f"{folder} has {len(all_of_them)} snapshots and no refs/main; name one of them")
    return all_of_them[0]


def from_hub(repository: str, files: tuple[str, ...], beside: tuple[str, ...] = ()) -> Path:
    """The first of `files` that a repository has, from the cache or downloaded, with what it has of `beside`."""
    name, _, revision = repository.partition("@")
    where = dict(revision=revision or None)
    try:
        for file in files:
            if isinstance(cached := try_to_load_from_cache(name, file, **where), str):
                return Path(cached)
        reason = None
        for file in files:
            try:
                path = Path(hf_hub_download(name, file, **where))
            except Exception as error:  # whatever the hub's client, the network or the disk raise
                reason = reason or error
                if type(error).__name__ not in ("EntryNotFoundError", "RemoteEntryNotFoundError"):
                    raise
                continue
            for other in beside:
                _try_download(name, other, where)
            return path
        raise reason
    except HFValidationError as error:
        raise InputError(f"{repository!r} is no name of a repository (OWNER/NAME)") from error
    except Exception as error:
        said = " ".join(str(error).split())[:160] or type(error).__name__
        raise InputError(
            f"{HUB}{repository} is not on this machine and cannot be downloaded ({said}); offline, fetch its "
            f"{files[0]} elsewhere and name that file"
        ) from error


def _try_download(name: str, file: str, where: dict) -> None:
    try:
        hf_hub_download(name, file, **where)
    except Exception:  # what it would have said stays unknown, and that is said
        return


def config_beside(path: Path) -> tuple[Path, dict] | None:
    """The JSON that goes with a file of a snapshot's name, and its content; None where there is none.

    open_clip's files go with open_clip_config.json, transformers' with config.json.
    """
    if path.name not in (*OPEN_CLIP, *TRANSFORMERS):
        return None
    own = path.with_name("open_clip_config.json" if path.name in OPEN_CLIP else "config.json")
    return (own, read_json(own)) if own.is_file() else None


def read_json(path: Path) -> dict:
    """A mapping of JSON. Raises InputError."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path} is no readable JSON: {' '.join(str(error).split())[:120]}") from error
    if not isinstance(content, dict):
        raise InputError(f"{path} is no mapping")
    return content
