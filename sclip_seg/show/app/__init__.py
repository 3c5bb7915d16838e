"""A page to play with: what it computes (`session`), what it says in HTML (`legend`), and its parts (`page`)."""

import os

# Read when gradio is imported or serves: it would ask its maker for news, and keep what was run in the browser.
os.environ.update(GRADIO_ANALYTICS_ENABLED="False", GRADIO_RUN_HISTORY="False")
