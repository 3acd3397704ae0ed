"""The registry as it was, after a test that loads plug-ins."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from mdgen import registry


@contextmanager
def isolated() -> Iterator[None]:
    """Forget on leaving which parts were registered and which plug-ins were loaded within.

    Parts of mdgen stay: their modules stay imported, and would not register them again.
    """
    parts, plugins, modules = set(registry._PARTS), list(registry._PLUGINS), set(sys.modules)
    try:
        yield
    finally:
        own = [name for name, part in registry._PARTS.items() if part is None or name.startswith("mdgen.")]
        for name in set(registry._PARTS) - parts - set(own):
            del registry._PARTS[name]
        for plugin in set(registry._PLUGINS) - set(plugins):
            for module in set(sys.modules) - modules:
                if module == plugin or module.startswith(f"{plugin}."):
                    del sys.modules[module]
        registry._PLUGINS[:] = plugins
