"""Students: networks of mmsegmentation's that are trained on what `sclip-seg label` wrote, and their scores."""
