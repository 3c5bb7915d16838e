"""The toy worlds: drawn scenes with exact labels, and tiny CLIPs trained on them."""

WORLDS = ("toy", "toy_rich")
