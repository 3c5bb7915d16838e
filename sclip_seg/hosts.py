"""Whether a host answers at all: clients of the hub take a minute of retries to find out that it does not."""

import os
import socket
import urllib.request
from urllib.parse import urlsplit


def answers(url: str) -> bool:
    """Whether a connection can be made to where `url` lies; taken for granted behind a proxy."""
    if urllib.request.getproxies():
        return True
    address = urlsplit(url)
    try:
        port = address.port or (443 if address.scheme == "https" else 80)
        socket.create_connection((address.hostname, port), timeout=10).close()
    except OSError:
        return False
    return True


def hub() -> str:
    """Where the hub of models lies."""
    return os.environ.get("HF_ENDPOINT", "https://huggingface.co")
