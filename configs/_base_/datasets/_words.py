"""No benchmark: pictures of one's own, with words that the caller gives (`sclip_seg.load`).

Each method by its own protocol, without a benchmark's names, thresholds or sizes; the toy CLIP, which is fed with 64
pixels, reads pictures at their own size. The one word here holds the place of the caller's.
"""

words = ["object"]
dataset = dict(type="FolderDataset", data_root="data/_words", pictures="pictures", labels="labels", vocabulary=words)
settings = dict(vocabulary=words)
if "{{$SCLIP_BACKBONE:openai_vit_b16}}".startswith("toy"):
    settings |= dict(short_side=None, window=dict(crop=64, stride=32))
