"""Runs a command, under a limit or until it dies while it writes a file.

Globals: words; said, where its stderr goes; when, None or the point to die at, the number of the write, and a
part of the path of the files that are counted; file_size, in bytes, or None.
"""

import os
import resource
import signal
import stat
import sys
from typing import Any

from plasticrl.scripts.main import main

given: dict[str, Any] = globals()
point, left, counted = given["when"] or ("", 0, "")
fsync, replace = os.fsync, os.replace


def dying_fsync(descriptor: int) -> None:
    global left
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        if counted not in os.readlink(f"/proc/self/fd/{descriptor}"):
            return fsync(descriptor)
        left -= 1
        if left == 0 and point == "half written":
            os.ftruncate(descriptor, os.fstat(descriptor).st_size // 2)
        if left == 0 and point in ("half written", "written"):
            os.kill(os.getpid(), signal.SIGKILL)
    elif left == 0 and point == "replaced":
        os.kill(os.getpid(), signal.SIGKILL)
    return fsync(descriptor)


def dying_replace(source: Any, target: Any) -> None:
    if left == 0 and point == "flushed" and counted in str(target):
        os.kill(os.getpid(), signal.SIGKILL)
    replace(source, target)


os.fsync, os.replace = dying_fsync, dying_replace
if given["file_size"]:
    resource.setrlimit(resource.RLIMIT_FSIZE, (given["file_size"], given["file_size"]))
with open(given["said"], "w") as sys.stderr:
    status = main(given["words"])
sys.stderr = sys.__stderr__
sys.exit(status)
