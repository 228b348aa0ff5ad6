"""Enhancing: statistics, tiles, files; and `longexposure.enhance(image)`, which enhances one image."""

from __future__ import annotations

import sys
from importlib import import_module
from inspect import Signature, signature
from types import ModuleType
from typing import Any


class _Room(ModuleType):
    """Room and function have one name; the module, which imports put there, answers for both."""

    def __call__(self, *arguments: Any, **settings: Any) -> Any:
        """See `longexposure.enhance.enhancer.enhance`."""
        from longexposure.enhance.enhancer import enhance

        return enhance(*arguments, **settings)

    @property
    def __signature__(self) -> Signature:
        from longexposure.enhance.enhancer import enhance

        return signature(enhance)

    def __reduce__(self) -> tuple[Any, ...]:
        """Let pools of processes map it over files."""
        return import_module, (__name__,)


sys.modules[__name__].__class__ = _Room
