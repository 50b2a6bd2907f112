"""Loads files while every dangerous event of the interpreter is noted. Globals: folder, helpers, said."""

import json
import pickle
import sys
from pathlib import Path
from typing import Any

given: dict[str, Any] = globals()
sys.path.insert(0, given["helpers"])

from small_learners import LEARNERS  # noqa: E402

from plasticrl.scripts.main import main  # noqa: E402

# What code that comes out of a file cannot do without, whatever else it does.
DANGEROUS = (
    *("pickle.find_class", "marshal.loads", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork"),
    *("subprocess.Popen", "ctypes.dlopen", "socket.connect", "shutil.rmtree", "os.remove", "os.rename"),
)
STRICT = (*DANGEROUS, "import", "exec", "compile")
watched: tuple[str, ...] = ()
seen: list[str] = []


def hook(event: str, arguments: tuple[Any, ...]) -> None:
    if event in watched:
        seen.append(event)


folder = Path(given["folder"])
good, hostile = folder / "good", sorted((folder / "hostile").iterdir())
refused = commands = 0


def try_all() -> int:
    count = 0
    for path in hostile:
        for _, load in LEARNERS.values():
            try:
                load(path)
            except ValueError:
                count += 1
    return count


for name, (_, load) in LEARNERS.items():  # what is imported on first use is imported now
    load(good / f"{name}.safetensors")
try_all()
main(["evaluate", str(folder / "run")])
sys.addaudithook(hook)
watched = STRICT
refused = try_all()
watched = DANGEROUS
checkpoint = folder / "run" / "checkpoints" / "step_000000000001.safetensors"
for path in hostile:
    checkpoint.write_bytes(path.read_bytes())
    commands += main(["evaluate", str(folder / "run")]) == 2
watched = ()
found, before = list(seen), (folder / "executed").exists()

watched = DANGEROUS  # the hook does see what it is there for
pickle.loads((folder / "hostile" / "pickle.safetensors").read_bytes())
watched = ()
result = {
    "files": len(hostile),
    "refused": refused,
    "commands_refused": commands,
    "events": found,
    "executed": before,
    "control_events": seen[len(found) :],
    "control_executed": (folder / "executed").exists(),
}
Path(given["said"]).write_text(json.dumps(result))
