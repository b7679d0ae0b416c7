"""
Which interpreters can serve: the main one of a CPython that has the lock.

A sub-interpreter can catch no signals, and the native module's state is the process's. Without the
lock (free-threaded builds) nothing here has been tested, and an untested server is no server.

Not here: the version of Python (pyproject.toml).
"""

import signal
import sys
import sysconfig


def refusal() -> str | None:
    """Why this interpreter cannot serve; None if it can."""
    name = sys.implementation.name
    if name != "cpython":
        return f"{name} is not supported: maitred runs in CPython"
    if sysconfig.get_config_var("Py_GIL_DISABLED"):
        return (
            "a free-threaded build of CPython is not supported yet: use the ordinary one of the "
            "same version (python3.14, not python3.14t)"
        )
    if not _is_main():
        return (
            "a sub-interpreter, or a thread of its own, cannot serve: run the command maitred, or "
            "python -m maitred, as a process"
        )
    return None


def _is_main() -> bool:
    """Whether this is the main thread of the main interpreter: only it may touch signals."""
    try:
        before = signal.set_wakeup_fd(-1)
    except ValueError:
        return False
    if before != -1:
        signal.set_wakeup_fd(before)
    return True
