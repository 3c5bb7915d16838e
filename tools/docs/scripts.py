"""What mkdocs asks about the scripts of the site: those of the project and of the theme, none of a server."""

from mkdocs.config.defaults import MkDocsConfig


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Without the script that the plugin `offline` would load from elsewhere; ours does its work."""
    config.extra["polyfills"] = [name for name in config.extra["polyfills"] if "//" not in name]
    return config
