"""What pyproject.toml cannot say: where `configs/` lies, and the README as it reads away from its neighbours.

`configs/` lies beside the package in a source tree and inside it once installed.
"""

import re
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent


def readme_alone() -> str:
    """Pictures of the source tree are left out, and what is linked there is named: an index shows neither."""
    text = re.sub(r"!\[[^]]*\]\((?!\w+:)[^)]*\)\s*", "", (ROOT / "README.md").read_text(encoding="utf-8"))
    return re.sub(r"\[([^]]*)\]\((?!\w+:)([^)]*)\)", r"\1 (`\2`)", text)


folders = {path.parent.relative_to(ROOT) for path in ROOT.glob("configs/**/*.py")}
setup(
    packages=[*find_packages(include=["sclip_seg*"]), *(f"sclip_seg.{'.'.join(folder.parts)}" for folder in folders)],
    package_dir={"sclip_seg.configs": "configs"},
    long_description=readme_alone(),
    long_description_content_type="text/markdown",
)
