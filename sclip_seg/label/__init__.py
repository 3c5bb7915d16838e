"""Labels to train on: `sclip-seg label`, from where pictures come from to the formats that others read."""
