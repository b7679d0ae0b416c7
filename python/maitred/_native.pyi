"""The native half of the package (python/src)."""

def main(arguments: list[str]) -> int:
    """Run the command line, and answer with the exit code."""
