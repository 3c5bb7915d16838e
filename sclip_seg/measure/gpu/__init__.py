"""What a GPU makes of it: precision, parity and speed there (`sclip-seg gpu-check`)."""
