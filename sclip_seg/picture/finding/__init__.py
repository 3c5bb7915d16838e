"""Words that nobody gave: which of a long list a picture, or a folder of them, is made of."""
