"""A card for each method, as Markdown, of what the code says of it: docstring, config, options, figures.

Measurements are the rows of the tables under docs/ whose first cell is the method.
"""

import inspect
import re
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from mmengine.config import Config
from tables import Table, table_of, tables

from sclip_seg.config import load_config
from sclip_seg.evaluate.published_figures import Figure, load
from sclip_seg.registry import ATTENTION, GUIDES, REGIONS, STAGES, STEPS, TAILS
from sclip_seg.settings import parameters, words

ROOT = Path(__file__).parents[2]
PAGES = ROOT / "docs"
COLUMNS = {
    "voc21": "VOC21",
    "context60": "Context60",
    "coco_object": "COCO-Object",
    "voc20": "VOC20",
    "cityscapes": "Cityscapes",
    "context59": "Context59",
    "ade20k": "ADE20K",
    "coco_stuff164k": "COCO-Stuff",
}
NO_OPTIONS = ("self", "t", "settings")


def card(method: str) -> str:
    """The page of a method."""
    path = ROOT / "configs" / f"{method}.py"
    parts = list(parts_of(method))
    return (
        "\n\n".join(
            [
                f"# {method}",
                f"{row_of(method)}",
                prose(inspect.cleandoc(_docstring(path.read_text()))),
                "## Equation and code",
                *(_module(name) for name in modules(method, parts)),
                "## Run it",
                f"```sh\n.venv/bin/sclip-seg test {method} --dataset voc21\n```",
                f'??? note "configs/{method}.py"\n\n' + _indented(f"```python\n{path.read_text().strip()}\n```"),
                "## Options",
                f"Set by `--cfg-options PART.KEY=VALUE`, e.g. `{_example(parts)}=...`. The column 'here' is what the "
                f"config says (on `{_config(method).axes.dataset}`, where benchmarks differ).",
                *(_options(place, kind, given) for place, kind, given in parts if options(kind)),
                "## Measured here",
                *measured(method),
                "## Published",
                *published(method),
            ]
        ).replace("\n\n\n", "\n\n")
        + "\n"
    )


def row_of(method: str) -> str:
    """Its paper and what it changes, of the table of the methods."""
    rows = table_of(PAGES / "methods" / "index.md", "`configs/`").rows
    names = [row[0].strip("`") for row in rows]
    place = names.index(method)
    paper, changes = rows[place][1], rows[place][2]
    while paper == "the same":
        place -= 1
        paper = rows[place][1]
    return f"**{paper}**: {changes}."


def parts_of(method: str) -> Iterator[tuple[str, object, dict]]:
    """What its config names: the key, the class or function, and the settings beside it."""
    model = _config(method).model
    tail = model.backbone.tail
    yield "model.backbone.tail", TAILS.get(tail.type), tail
    for key, shelf in {"attention": ATTENTION, "guide": GUIDES, "affinity": GUIDES, "regions": REGIONS}.items():
        if tail.get(key) is not None:
            yield from _part(f"model.backbone.tail.{key}", tail[key], shelf)
    for key, shelf in {"stages": STAGES, "refine": STEPS}.items():
        for number, part in enumerate(model.get(key) or []):
            yield from _part(f"model.{key}.{number}", part, shelf)
            if isinstance(part, dict) and isinstance(part.get("guide"), dict):
                yield from _part(f"model.{key}.{number}.guide", part["guide"], GUIDES)


@cache
def _config(method: str) -> Config:
    return load_config(ROOT / "configs" / f"{method}.py")


def _part(place: str, part: object, shelf: object) -> Iterator[tuple[str, object, dict]]:
    given = {"type": part} if isinstance(part, str) else part
    yield place, shelf.get(given["type"]), given


def modules(method: str, parts: list[tuple[str, object, dict]]) -> list[str]:
    """The module of its paper, and then those whose parts it takes, each once."""
    found = dict.fromkeys(kind.__module__ for _, kind, _ in parts if ".methods." in kind.__module__)
    return sorted(found, key=lambda name: not method.startswith(name.rpartition(".")[2]))


def prose(text: str) -> str:
    """A docstring as Markdown: equations stay blocks of code, addresses become links, and nothing else is markup."""
    blocks = re.split(r"((?:^(?: {4}.*)?\n)*^ {4}.*$)", text, flags=re.MULTILINE)
    return "".join(block if place % 2 else _plain(block) for place, block in enumerate(blocks))


def _plain(text: str) -> str:
    spans = re.split(r"(`[^`]*`)", text)
    return "".join(span if place % 2 else _escaped(span) for place, span in enumerate(spans))


def _escaped(text: str) -> str:
    text = re.sub(r"[_\[\]]|\*(?! )", r"\\\g<0>", text).replace("<", "&lt;")
    text = re.sub(r"arXiv (\d{4}\.\d{4,5})", r"[arXiv \1](https://arxiv.org/abs/\1)", text)
    return re.sub(r"(?<![/.\w])(github\.com/[\w./\\-]*\w)", _link, text)


def _link(found: re.Match) -> str:
    address = found[1].replace("\\", "")
    return f"[{found[1]}](https://{address})"


def _module(name: str) -> str:
    path = name.replace(".", "/") + ".py"
    return f"### {path}\n\n{prose(inspect.cleandoc(sys.modules[name].__doc__))}"


def _docstring(source: str) -> str:
    return source.split('"""', 2)[1]


def _example(parts: list[tuple[str, object, dict]]) -> str:
    place, kind, _ = next(part for part in parts if options(part[1]))
    return f"{place}.{[*options(kind)][-1]}"


def options(kind: object) -> dict[str, inspect.Parameter]:
    """What a config may say of a part."""
    loose = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
    return {
        name: option for name, option in parameters(kind).items() if name not in NO_OPTIONS and option.kind not in loose
    }


def _options(place: str, kind: object, given: dict) -> str:
    """A table of what a part takes."""
    meanings = meanings_of(kind)
    rows = [["key", "may be", "default", "here", "what it is"]]
    for name, option in options(kind).items():
        default = "" if option.default is option.empty else f"`{option.default!r}`"
        here = f"`{given[name]!r}`" if name in given and _plain_list(given[name]) != _plain_list(option.default) else ""
        rows.append([f"`{name}`", _told(option.annotation), default, here, prose(meanings.get(name, ""))])
    filled = [column for column in zip(*rows, strict=True) if any(column[1:])]
    lines = [[cell.replace("|", "\\|").replace("\n", " ") for cell in row] for row in zip(*filled, strict=True)]
    lines.insert(1, ["---"] * len(filled))
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return f"### {given['type']} (`{place}`)\n\n{prose(inspect.cleandoc(kind.__doc__).splitlines()[0])}\n\n{table}"


def _plain_list(value: object) -> object:
    """A config's lists are as good as tuples."""
    return list(value) if isinstance(value, tuple) else value


def _told(kind: object) -> str:
    """What it may be, without the bounds that are those of all numbers."""
    return re.sub(r",? (?:from -1000000 to|up to|to) 1000000", "", words(kind))


def meanings_of(kind: object) -> dict[str, str]:
    """What a docstring says of each argument, its parents' too."""
    found: dict[str, str] = {}
    for owner in reversed(kind.__mro__ if isinstance(kind, type) else [kind]):
        text = inspect.cleandoc(owner.__doc__ or "").partition("Args:\n")[2].partition("\n\n")[0]
        for names, meaning in re.findall(r"^ {4}(\w+(?:, \w+)*): (.*(?:\n {5,}.*)*)", text, flags=re.MULTILINE):
            found |= dict.fromkeys(names.split(", "), " ".join(meaning.split()))
    return found


def measured(method: str) -> Iterator[str]:
    """What stands of it in the tables of the pages."""
    some = False
    yield "Each row is its row of the table on the page that is linked, which says with what it was measured."
    for path in [PAGES / "methods" / "index.md", *sorted((PAGES / "measurements").glob("*.md"))]:
        for table in tables(path):
            for row in table.rows:
                if row[0].strip("`*") == method and any(row[1:]):
                    some = True
                    yield _measurement(path, _costs(table) if path.name == "index.md" else table, row)
    if not some:
        yield "There is none yet."


def _costs(table: Table) -> Table:
    """The table of the methods, of which the card says paper and change above, and the published numbers below."""
    return Table(["", "", "", "trunk, s", "whole, s", "ratio", ""], table.rows, "On a CPU")


def _measurement(path: Path, table: Table, row: list[str]) -> str:
    named = [(key, cell.strip("*")) for key, cell in zip(table.head, row, strict=True) if key and cell]
    named = [pair for pair in named if pair[0] != "method"]
    if not named:
        return ""
    where = f"../{path.parent.name}/{path.name}" if path.parent.name != "methods" else "index.md"
    heads, cells = (" | ".join(side) for side in zip(*named, strict=True))
    return f"[{table.title}]({where})\n\n| {heads} |\n|{'---|' * len(named)}\n| {cells} |"


@cache
def _figures() -> list[Figure]:
    return load()


def published(method: str) -> Iterator[str]:
    """Its figures by backbone, those that the config follows first."""
    own = [figure for figure in _figures() if figure.method == method]
    if not own:
        yield "No figure by benchmark was found; see the [table of the methods](index.md)."
        return
    yield (
        "mIoU by source. **Bold**: by the protocol that the config follows. Rows of other protocols are not "
        "comparable, and none was measured here."
    )
    for backbone in dict.fromkeys(figure.backbone for figure in own):
        yield f"### {backbone}\n\n" + _rows([figure for figure in own if figure.backbone == backbone])


def _rows(figures: list[Figure]) -> str:
    columns = [name for name in COLUMNS if any(f.dataset == name for f in figures)]
    columns += sorted({figure.dataset for figure in figures} - {*columns})
    lines = [
        f"| source | protocol | {' | '.join(COLUMNS.get(name, name) for name in columns)} |",
        "|---|---|" + "---|" * len(columns),
    ]
    kinds = dict.fromkeys((f.source, f.protocol, f.variant, f.comparable) for f in figures)
    for source, protocol, variant, comparable in sorted(kinds, key=lambda kind: (not kind[3], kind[2] is not None)):
        row = {f.dataset: f.miou for f in figures if (f.source, f.protocol, f.variant) == (source, protocol, variant)}
        strong = "**" if comparable and variant is None else ""
        cells = [f"{strong}{row[name]}{strong}" if name in row else "" for name in columns]
        told = f"{protocol}; {variant}" if variant else protocol
        lines.append(f"| {prose(source)} | {prose(told)} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _indented(text: str) -> str:
    return "\n".join(f"    {line}" if line else "" for line in text.splitlines())
