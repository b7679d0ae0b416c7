"""The command ``maitred``, and ``python -m maitred``: the whole command line."""

import sys

from maitred import _native


def main() -> None:
    """Run the command line of this process, and end with its exit code."""
    # ``python -m`` puts the path of this file there.
    sys.exit(_native.main(["maitred", *sys.argv[1:]]))


if __name__ == "__main__":
    main()
