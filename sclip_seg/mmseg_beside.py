"""What has to happen when mmseg is loaded, by us or by a config's `custom_imports=dict(imports=["sclip_seg"])`.

The compiled ops that mmcv-lite lacks get their stand-ins (`mmcv_shim`), and mmseg's registries learn in which modules
of ours to look, which they load when they are first asked for a part.
"""

import importlib.util
import sys
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec

from .mmcv_shim import bridge_the_standard_library, import_mmseg

# A registry of mmseg's, and the modules that put something into it.
LOCATIONS = {
    "MODELS": ("sclip_seg.picture.segmentor", "sclip_seg.towers.encoder"),
    "DATASETS": ("sclip_seg.data.datasets",),
    "TRANSFORMS": ("sclip_seg.data.loading",),
    "DATA_SAMPLERS": ("sclip_seg.evaluate.sharing",),
    "HOOKS": ("sclip_seg.evaluate.hooks", "sclip_seg.evaluate.sharing", "sclip_seg.students.checkpoints"),
    "METRICS": ("sclip_seg.evaluate.metric",),
}


class Awaited(MetaPathFinder):
    """Finds mmseg as it is found anyway, once, and goes on to what has to happen after it has run."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        """mmseg's own spec; None for any other module, and where there is no mmseg."""
        if name != "mmseg":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        if spec is None or spec.loader is None:
            return spec
        run = spec.loader.exec_module

        def run_and_go_on(module: object) -> None:
            run(module)
            go_on()

        spec.loader.exec_module = run_and_go_on
        return spec


def when_mmseg_loads() -> None:
    """From now on, or at once where it is loaded."""
    bridge_the_standard_library()
    if "mmseg" in sys.modules:
        go_on()
    elif not any(isinstance(finder, Awaited) for finder in sys.meta_path):
        sys.meta_path.insert(0, Awaited())


def go_on() -> None:
    """Loads mmseg's packages, and tells its registries where our parts lie."""
    import_mmseg()
    from mmseg import registry as registries

    for name, modules in LOCATIONS.items():
        registry = getattr(registries, name)
        # mmengine takes them only when a registry is made, which mmseg has done.
        registry._locations = [*registry._locations, *modules]
        registry._imported = False
