"""
From ``pkg.module:app`` to the callable, and to what it is called by.

A target names a module and, behind a colon, what in it is the application: an attribute, a path of
attributes, or a call whose arguments are literals, as in Gunicorn. A module alone means its
``application``, else its ``app``.

Not here: serving it (``_native``), the native side of this (python/src/host.rs).
"""

from __future__ import annotations

import ast
import functools
import importlib
import inspect
import os
import sys
import traceback
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types import ModuleType

#: What a module without a colon behind it is looked through for, in order: WSGI's name first.
NAMES = ("application", "app")

#: How many frames of a failing import are the importer's own, and of no interest to anybody.
_OWN_FILES = (__file__, importlib.__file__)


class TargetError(Exception):
    """The target names nothing that could be an application."""


def load(
    target: str, *, interface: str, factory: bool, app_dir: str | os.PathLike[str]
) -> tuple[Any, str]:
    """
    Import an application; answer with it and with its interface, ``asgi`` or ``wsgi``.

    Raises whatever the import raises, and TargetError where it leads to no application.
    """
    # The first place, as Uvicorn and Gunicorn have it: the application's own modules win.
    sys.path.insert(0, os.fspath(app_dir) or os.getcwd())  # noqa: PTH109
    module_name, _, expression = target.partition(":")
    module = importlib.import_module(module_name)
    application = _evaluate(module, expression) if expression else _first(module)
    if factory:
        if not callable(application):
            message = f"{target} is not callable, and cannot be a factory"
            raise TargetError(message)
        application = application()
    if not callable(application):
        message = f"{target} is {type(application).__name__!r}, which is no application"
        raise TargetError(message)
    return application, interface_of(application) if interface == "auto" else interface


def interface_of(application: Any) -> str:
    """What a callable is called by: ``asgi`` if it is asynchronous or takes a scope."""
    if isinstance(application, functools.partial):
        return interface_of(application.func)
    if inspect.isclass(application):
        # ASGI 2 is a class of its scope; instances answer ``__await__`` in the style of ASGI 3.
        return "asgi" if hasattr(application, "__await__") or _takes(application, 1) else "wsgi"
    if inspect.iscoroutinefunction(application):
        return "asgi"
    call = getattr(application, "__call__", None)  # noqa: B004
    if inspect.iscoroutinefunction(call):
        return "asgi"
    # Neither is asynchronous by its look: three arguments are ASGI's, two are WSGI's.
    return "asgi" if _takes(application, 3) and not _takes(application, 2) else "wsgi"


def describe(error: BaseException) -> tuple[str, str]:
    """What is wrong, in one line; and the traceback, without the frames of the importer."""
    summary = "".join(traceback.format_exception_only(type(error), error)).strip()
    summary = summary.splitlines()[-1]
    if isinstance(error, TargetError):
        return str(error), ""
    frame = error.__traceback__
    while frame is not None and _is_importers(frame.tb_frame.f_code.co_filename):
        frame = frame.tb_next
    text = "".join(traceback.format_exception(type(error), error, frame))
    return summary, text


def _is_importers(file: str) -> bool:
    return file in _OWN_FILES or file.startswith("<frozen importlib")


def _first(module: ModuleType) -> Any:
    for name in NAMES:
        if hasattr(module, name):
            return getattr(module, name)
    message = f"module {module.__name__!r} has no attribute {' or '.join(map(repr, NAMES))}"
    raise TargetError(message)


def _evaluate(module: ModuleType, expression: str) -> Any:
    """The attribute of a module that an expression names, called if it says so."""
    message = f"{module.__name__}:{expression}: must be a name, or a call with literal arguments"
    try:
        tree = ast.parse(expression, mode="eval").body
    except SyntaxError:
        raise TargetError(message) from None
    if not isinstance(tree, ast.Call):
        return _attribute(module, tree, message)
    factory = _attribute(module, tree.func, message)
    try:
        arguments = [ast.literal_eval(argument) for argument in tree.args]
        named = {word.arg: ast.literal_eval(word.value) for word in tree.keywords if word.arg}
    except ValueError:
        raise TargetError(message) from None
    return factory(*arguments, **named)


def _attribute(module: ModuleType, tree: ast.expr, message: str) -> Any:
    names: list[str] = []
    while isinstance(tree, ast.Attribute):
        names.append(tree.attr)
        tree = tree.value
    if not isinstance(tree, ast.Name):
        raise TargetError(message)
    names.append(tree.id)
    found: Any = module
    for name in reversed(names):
        if not hasattr(found, name):
            message = f"{module.__name__} has no attribute {'.'.join(reversed(names))!r}"
            raise TargetError(message)
        found = getattr(found, name)
    return found


def _takes(application: Any, count: int) -> bool:
    """Whether it can be called with so many arguments."""
    try:
        inspect.signature(application).bind(*[None] * count)
    except TypeError:
        return False
    except ValueError:
        # No signature is known: something native, and those are WSGI.
        return count == len(("environ", "start_response"))
    return True
