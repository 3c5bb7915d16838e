"""Hold our methods against what the official codes compute on tiny weights.

    sclip-seg parity DIR
    sclip-seg parity DIR --device cuda

DIR holds `recipe.py` (weights and inputs) and the reference outputs
`visual_METHOD.npz`, `e2e_METHOD_DATASET.npz`, `openai_pooled_text.npz`, ...;
which cases there are, the names of the files and of their keys say. One line
per case with the largest difference, or why there is none; then what no reader
knows, file by file and key by key. Exit status 1 beyond a tolerance. On a GPU,
in fp32 with TF32 off, the tolerances are ten times as wide.
"""

from pathlib import Path

from ..command import Parser, run


def main(arguments: list[str] | None = None) -> int:
    """Exit status: 0, 1 where a case is off, 2 after one line about what the user can mend."""
    parser = Parser(description=__doc__)
    parser.add_argument("folder", type=Path, metavar="DIR", help="where the reference outputs are")
    parser.add_argument("--device", default="cpu", help="what computes: cpu, or a GPU as torch calls it")
    options = parser.parse_args(arguments)

    from .parity.compare import compare

    return run(lambda: compare(options.folder, options.device))
