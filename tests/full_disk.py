"""A disk on which no file can grow."""

import resource
from contextlib import contextmanager


@contextmanager
def full_disk():
    """Until it ends, this process can make no file longer."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
