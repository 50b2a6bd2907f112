"""Runs a command on a machine that is odd in some way.

Globals: words; said, where its stderr goes, or None for a closed one; out, the same for stdout; env; limits,
of resources by name; gone, a folder to be in when it is removed, or None; at_save, what happens to a folder
or to the process inside the second save: "remove", "rename" or a signal's name, and the folder.
"""

import os
import resource
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

from plasticrl.scripts.main import main

given: dict[str, Any] = globals()
happens, folder = given["at_save"] or ("", "")
left = 2
fsync = os.fsync


def odd_fsync(descriptor: int) -> None:
    global left
    fsync(descriptor)
    if not os.path.basename(os.readlink(f"/proc/self/fd/{descriptor}")).startswith(".step_"):
        return
    left -= 1
    if left:
        return
    if happens == "remove":
        shutil.rmtree(folder)
    elif happens == "rename":
        Path(folder).rename(folder + "_2")
    else:
        os.kill(os.getpid(), getattr(signal, happens))


def lead(descriptor: int, place: str | None) -> None:
    if place is None:
        os.close(descriptor)
        return
    opened = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(opened, descriptor)
    os.close(opened)


if happens:
    os.fsync = odd_fsync
os.environ.update(given["env"])
if given["gone"]:
    os.makedirs(given["gone"])
    os.chdir(given["gone"])
    os.rmdir(given["gone"])
for name, limit in given["limits"].items():
    resource.setrlimit(getattr(resource, name), (limit, limit))
for number, stream, place in ((1, "stdout", given["out"]), (2, "stderr", given["said"])):
    lead(number, place)
    if place is None:  # as Python finds it at its start
        setattr(sys, stream, None)
        setattr(sys, f"__{stream}__", None)
sys.exit(main(given["words"]))
