"""A whole picture: its windows, their scores, the stitching, labels; `segmentor` composes them."""
