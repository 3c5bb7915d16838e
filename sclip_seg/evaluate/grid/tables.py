"""The tables that `sclip-seg reproduce` knows by name: rows (a method, or a variant of it) and their benchmarks."""

from dataclasses import dataclass
from itertools import product

BENCHMARKS = ("voc21", "context60", "coco_object", "voc20", "cityscapes", "context59", "ade20k", "coco_stuff164k")
WITHOUT_BACKGROUND = ("voc20", "context59", "coco_stuff164k", "cityscapes", "ade20k")
BACKBONE = "openai_vit_b16"
ATTENTION = "model.backbone.tail.attention"


@dataclass(frozen=True)
class Row:
    """A method as it stands, or with the options that make a variant of it."""

    method: str
    variant: str | None = None
    options: tuple[str, ...] = ()


@dataclass(frozen=True)
class Table:
    """Every row on every dataset."""

    rows: tuple[Row, ...]
    datasets: tuple[str, ...]


def _sclip(variant: str, kind: str, *others: str) -> Row:
    return Row("sclip", variant, (f"{ATTENTION}.type={kind}", *(f"{ATTENTION}.{other}" for other in others)))


def _clearclip(kind: str, residual: bool, mlp: bool) -> Row:
    if (kind, residual, mlp) == ("qq", False, False):
        return Row("clearclip")
    variant = "_".join([kind, *(["residual"] if residual else []), *(["mlp"] if mlp else [])])
    tail = (f"model.backbone.tail.residual={residual}", f"model.backbone.tail.mlp={mlp}")
    return Row("clearclip", variant, (f"{ATTENTION}.type={kind}", *tail))


# SCLIP's table 1. Its row MaskCLIP is values alone by SCLIP's protocol: the variant `identity`.
SCLIP_MAIN = Table((Row("clip"), Row("maskclip"), _sclip("identity", "identity"), Row("sclip")), BENCHMARKS)
SCLIP_ABLATION = Table(
    (
        _sclip("tokens", "tokens"),
        _sclip("qq", "qq"),
        _sclip("kk", "kk"),
        _sclip("random_projection", "random_projection"),
        *(_sclip(f"random_projection_{n}", "random_projection", f"n={n}") for n in (2, 4, 8)),
        Row("sclip"),
    ),
    ("voc21", "context59", "coco_stuff164k"),
)
CLEARCLIP_ABLATION = Table(
    tuple(
        _clearclip(kind, residual, mlp)
        for kind, residual, mlp in product(("qk", "qq", "kk", "vv", "csa", "identity"), (True, False), (True, False))
    ),
    WITHOUT_BACKGROUND,
)
TABLES = {"sclip-main": SCLIP_MAIN, "sclip-ablation": SCLIP_ABLATION, "clearclip-ablation": CLEARCLIP_ABLATION}


def tables(name: str, methods: tuple[str, ...]) -> tuple[Table, ...]:
    """The table of a name; `all` are all of them, and all methods on the eight benchmarks."""
    everything = Table(tuple(Row(method) for method in methods), BENCHMARKS)
    return (everything, *TABLES.values()) if name == "all" else (TABLES[name],)
