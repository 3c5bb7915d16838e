"""The work of `sclip-seg regions`: the regions of a dataset's pictures, found ahead."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from mmengine.device import get_device
from mmengine.registry import init_default_scope
from PIL import Image

from ..bars import Bar
from ..config import load_config
from ..data.check import check_dataset
from ..data.datasets import build_dataset
from ..drawing import make_palette, overlay
from ..errors import InputError, near
from ..files import as_png, clear_drafts, write_atomically
from ..regions.provider import RegionProvider
from ..regions.regions import VOID, Regions
from ..registry import REGIONS
from ..settings import check_settings, parameters
from .work_folder import check_places

COLOURS = 64  # that regions are drawn in, in turn


def find(
    dataset: str,
    provider: str,
    folder: str,
    method: str,
    limit: int | None,
    show_dir: str | None,
    cfg_options: dict[str, object],
) -> None:
    """Finds, keeps and draws the regions of every picture that has none yet."""
    config = load_config(method, dataset)
    data = config.test_dataloader.dataset.to_dict()
    total = check_dataset(data)
    check_places(data, {"--work-dir": folder, "--show-dir": show_dir})
    source = provider_of(provider, {**cfg_options, "folder": folder}).to(get_device())
    if source.store is None:
        raise InputError(f"the regions of {provider} are files already, and are not kept again")
    for place in filter(None, (folder, show_dir)):
        clear_drafts(Path(place).rglob(".*"))
    init_default_scope(config.default_scope)
    pictures = build_dataset(data, **({"indices": limit} if limit and limit < total else {}))
    known = regions = 0
    with Bar(total=len(pictures), desc="regions", unit="picture") as bar:
        for name, picture in pictures_of(pictures):
            known += source.lies_there(picture)
            found = source(picture, name.stem)
            regions += found.count
            if show_dir:
                path = Path(show_dir, name).with_suffix(".png")
                write_atomically(path, as_png(drawn(picture, found.hard())))
            bar.update()
    mean = regions / len(pictures)
    print(f"{len(pictures)} pictures, {mean:.1f} regions each; {known} were kept before. Kept in {source.store.folder}")


def provider_of(name: str, options: dict[str, object]) -> RegionProvider:
    """Who finds regions, by name. Raises InputError for a name or an option that there is not."""
    kind = REGIONS.get(name)
    if kind is None:
        raise InputError(f"there is no provider {name!r} of regions{near(name, REGIONS.module_dict)}")
    takes = parameters(kind)
    options = {key: value for key, value in options.items() if key in takes or key != "folder"}
    for key in options:
        if key not in takes:
            raise InputError(f"{name} has no option {key!r}{near(key, takes)}")
    check_settings(name, kind, options)
    return REGIONS.build({"type": name, **options})


def pictures_of(dataset: object) -> Iterator[tuple[Path, np.ndarray]]:
    """The path of each picture below the folder of pictures, and its pixels (H, W, 3), RGB, as a run reads them."""
    folder = Path(dataset.data_prefix["img_path"])
    for index in range(len(dataset)):
        packed = dataset[index]
        path = Path(packed["data_samples"].img_path)
        name = path.relative_to(folder) if path.is_relative_to(folder) else Path(path.name)
        yield name, np.ascontiguousarray(packed["inputs"].permute(1, 2, 0).numpy()[:, :, ::-1])


def drawn(picture: np.ndarray, regions: Regions) -> Image.Image:
    """Regions over their picture, in turn in colours of their own; void is left as it is."""
    ids = regions.ids.cpu().numpy()
    labels = np.where(ids == VOID, COLOURS, ids % COLOURS)
    return Image.fromarray(overlay(picture, labels, make_palette(COLOURS), background=COLOURS))
