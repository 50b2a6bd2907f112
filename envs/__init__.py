"""The maze, tests of memory and the supervised tasks as Gymnasium environments, single and batched.

The public names are listed in ``__init__.pyi``. They are loaded when first used, so that importing this
package needs neither torch nor Stable-Baselines3.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
