"""Ray's cluster: the one that this process is in, the one at an address, or a new one of this machine."""

from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

from ..errors import InputError


@contextmanager
def cluster(address: str | None, with_data: bool = False) -> Iterator[ModuleType]:
    """Ray, connected, `with_data` as `ray.data` too; a connection that is made here ends with the context.

    Raises InputError where Ray is not installed, or the cluster cannot be reached.
    """
    try:
        import ray

        if with_data:
            import ray.data
    except ImportError as error:
        raise InputError("--engine ray needs Ray: pip install 'sclip_seg[ray]'") from error
    if ray.is_initialized():
        yield ray
        return
    try:
        ray.init(address=address, log_to_driver=False)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise InputError(f"--address {address}: {str(error).splitlines()[0]}") from error
    try:
        yield ray
    finally:
        ray.shutdown()
