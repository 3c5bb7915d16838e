"""How words that nobody gave are scored: in no column with the mIoU of a given vocabulary."""
