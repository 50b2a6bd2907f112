"""Where data are, said so that it holds in other processes and on other machines."""

from __future__ import annotations

import os
from pathlib import Path


def data_place(given: Path | None) -> Path | None:
    """The folder given, or else ``$PLASTICRL_DATA``, as an absolute path; None where there is neither."""
    place = given or os.environ.get("PLASTICRL_DATA")
    return Path(os.path.expanduser(place)).absolute() if place else None
