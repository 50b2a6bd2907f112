"""Trains as one of several processes.

Globals: words, of the command ``train``; said, where its stderr goes; env.
"""

import os
import sys
from typing import Any

from plasticrl.scripts.main import main

given: dict[str, Any] = globals()
os.environ.update(given["env"])
with open(given["said"], "w") as opened:
    os.dup2(opened.fileno(), 2)  # also what C++ says
sys.exit(main(["train", *given["words"]]))
