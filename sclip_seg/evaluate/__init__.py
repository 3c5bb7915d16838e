"""From labels to numbers: the metric, runs and their results, tables of them, reports."""
