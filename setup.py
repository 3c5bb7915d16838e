"""What pyproject.toml cannot say: `configs/` lies beside the package in a source tree and inside it once installed."""

from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent
folders = {path.parent.relative_to(ROOT) for path in ROOT.glob("configs/**/*.py")}
setup(
    packages=[*find_packages(include=["sclip_seg*"]), *(f"sclip_seg.{'.'.join(folder.parts)}" for folder in folders)],
    package_dir={"sclip_seg.configs": "configs"},
)
