"""SegEarth-OV's protocol (arXiv 2410.01768) on pictures from above: sizes, windows and scale, the same on every set.

Names, background and its threshold differ from set to set, and stand in each set's file.
"""

settings = dict(short_side=448, long_side=448, window=dict(crop=224, stride=112), logit_scale=50)
