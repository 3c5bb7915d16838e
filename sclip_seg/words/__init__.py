"""From names to features: vocabularies, templates, prompts, the text bank."""
