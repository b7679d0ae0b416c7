"""
``python -m maitred.worker``: a worker, started by a master that is no Python program.

Not here: what a worker does (``_native``).
"""

import sys

from maitred import _native


def main() -> None:
    """Serve as a worker with the flags of the master's ``serve``."""
    sys.exit(_native.main(["maitred", "worker", *sys.argv[1:]]))


if __name__ == "__main__":
    main()
