"""What zsseg's and SCAN's configs say, in the form of `protocols`: SCLIP's windows and words, and no threshold."""

SOFT = {"zsseg": dict(type="maskformer", form="soft"), "scan": dict(type="mask2former", form="soft")}
STAGES = {
    "zsseg": [dict(type="ZSSeg", regions=SOFT["zsseg"], reader="crops", threshold=0.5, dense=0.0)],
    "scan": [dict(type="SCAN", ratio=0.05, blocks=[1, 3, 5], tower=12, regions=SOFT["scan"], threshold=0.5, dense=0.0)],
}
# t of zsseg; t and ρ of SCAN, by benchmark.
TUNED = {
    "zsseg": {"ade20k": dict(threshold=0.4), "cityscapes": dict(threshold=0.3)},
    "scan": {
        "ade20k": dict(threshold=0.4, ratio=0.05),
        "context59": dict(threshold=0.25, ratio=0.05),
        "voc20": dict(threshold=0.2, ratio=0.1),
    },
}


def published(sclip):
    """Of SCLIP's rows by benchmark."""
    rows = {dataset: (*row[:3], 100, 0, 0, *row[6:]) for dataset, row in sclip.items()}
    return {"zsseg": rows, "scan": rows}


def methods(sclip):
    """Of SCLIP's row."""
    return {"zsseg": sclip, "scan": sclip}


def stages(method, dataset):
    """Of one of the two on a benchmark."""
    return [STAGES[method][0] | TUNED[method].get(dataset, {})]
