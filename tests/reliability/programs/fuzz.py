"""Runs fuzzed commands, a moment each. Globals: folder, helpers, seed, count, said."""

import io
import json
import os
import random
import resource
import shutil
import signal
import sys
import warnings
from collections import Counter
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

given: dict[str, Any] = globals()
sys.path.insert(0, given["helpers"])

from fuzzed_words import SMALL, command_line, settings  # noqa: E402

from plasticrl.scripts.main import main  # noqa: E402

MOST_MEMORY, SECONDS = 3 * 2**30, 0.4

warnings.simplefilter("error")
folder, rng = Path(given["folder"]), random.Random(given["seed"])
os.chdir(folder)
for task, words in SMALL.items():  # what is imported or compiled on first use is so now
    with redirect_stdout(io.StringIO()):
        assert main(["train", task, "--root", "warm", "--threads", "1", "--quiet", *words]) == 0
        assert (
            main(["compare", task, "--root", "warm", "--jobs", "1", "--seeds", "1", "--quiet", *words]) == 0
        )
        assert main(["evaluate", f"warm/{task}/plastic/seed_0"]) == 0
whole = folder / "warm" / "maze" / "plastic" / "seed_0"
with redirect_stdout(io.StringIO()):
    assert main(["watch", str(whole), "--gif", "warm.gif"]) == 0
config = json.loads((whole / "config.json").read_text())
used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + MOST_MEMORY, used + MOST_MEMORY))
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored by what a shell runs in the background
signal.signal(signal.SIGALRM, lambda *_: os.kill(os.getpid(), signal.SIGINT))

counts: Counter[str] = Counter()
faults: list[dict[str, Any]] = []
for number in range(given["count"]):
    scratch = folder / "scratch"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir()
    (scratch / "file").write_text("text")
    shutil.copytree(whole, scratch / "run" / "maze" / "plastic" / "seed_0")
    run = scratch / "run" / "maze" / "plastic" / "seed_0"
    if number % 10 == 0:
        changed = settings(rng, config)
        (run / "config.json").write_text(json.dumps(changed))
        if rng.random() < 0.5:
            (run / "result.json").unlink()
        words = (
            ["train", "--resume", str(run)]
            if rng.random() < 0.5
            else ["evaluate", str(run), "--episodes", "2"]
        )
    else:
        words, changed = command_line(rng, scratch, run), None
    errors, output = io.StringIO(), io.StringIO()
    signal.setitimer(signal.ITIMER_REAL, SECONDS, 5 * SECONDS)
    try:
        with redirect_stderr(errors), redirect_stdout(output):
            status: Any = main(words)
    except BaseException as error:
        status = repr(error)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    text = errors.getvalue()
    one_line = text.startswith("plasticrl: error: ") and text.count("\n") == 1 and len(text) < 2000
    if status == 0 or status == 130:
        counts["ran"] += 1
    elif status == 2 and one_line:
        counts["refused by name"] += 1
    else:
        faults.append({"words": words, "config": changed, "status": status, "stderr": text[:1500]})
Path(given["said"]).write_text(json.dumps({"counts": counts, "faults": faults}))
