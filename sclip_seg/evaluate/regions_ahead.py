"""Find the regions of a dataset's pictures ahead, and keep them for the runs.

    sclip-seg regions voc21 --provider sam2
    sclip-seg regions toy --provider felzenszwalb --show-dir drawn \\
        --cfg-options sigma=0.5 min_size=50

Pictures whose regions are kept already are passed over, so that the same
command goes on with one that was stopped. A run finds them where its config
names the same provider, with the same settings and weights.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from mmengine.device import get_device
from mmengine.registry import init_default_scope
from PIL import Image
from tqdm import tqdm

from ..command import Parser, at_least_one, run
from ..config import load_config
from ..data.check import check_dataset
from ..data.datasets import build_dataset
from ..drawing import make_palette, overlay
from ..errors import InputError, near
from ..files import as_png, clear_drafts, write_atomically
from ..options import add_options
from ..regions.provider import FOLDER, RegionProvider
from ..regions.regions import VOID, Regions
from ..registry import REGIONS
from ..settings import check_settings, parameters
from .work_folder import check_places

COLOURS = 64  # that regions are drawn in, in turn


def main(arguments: list[str] | None = None) -> int:
    """Exit status: 0, 2 after one line about what the user can mend, or 130 when stopped."""
    parser = Parser(description=__doc__)
    parser.add_argument("dataset", metavar="DATASET", help="a file of configs/_base_/datasets")
    parser.add_argument("--provider", default="sam2", metavar="NAME", help=", ".join(sorted(REGIONS.module_dict)))
    parser.add_argument("--folder", default=FOLDER, metavar="DIR", help=f"where they are kept (default: {FOLDER})")
    parser.add_argument("--method", default="sclip", metavar="CONFIG", help="whose config the dataset is read by")
    parser.add_argument("--limit", type=at_least_one, metavar="N", help="first N pictures only")
    parser.add_argument("--show-dir", metavar="DIR", help="draw them over their pictures")
    add_options(parser, "set an option of the provider")
    options = parser.parse_args(arguments)
    return run(lambda: find(**vars(options)), goes_on="the same command goes on")


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
    with tqdm(total=len(pictures), desc="regions", unit="picture", disable=None) as bar:
        for name, picture in pictures_of(pictures):
            known += source.lies_there(picture)
            found = source(picture, name.stem)
            regions += found.count
            if show_dir:
                path = Path(show_dir, name).with_suffix(".png")
                write_atomically(path, as_png(drawn(picture, found.hard()), optimize=False))
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
