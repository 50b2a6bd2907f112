"""Command lines and settings that are partly nonsense."""

import random
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, get_args, get_origin, get_type_hints

from plasticrl.scripts.commands import COMMANDS, Evaluate, Resume, Watch, options_of
from plasticrl.scripts.settings.groups import flag_of
from plasticrl.scripts.settings.tasks import task_named

JUNK = (
    "",
    " ",
    "x",
    "ä",
    "None",
    "--",
    "-",
    "nan",
    "inf",
    "-inf",
    "1e400",
    "0x10",
    "1" + "0" * 30,
    "../..",
    "[]",
    "'",
)
NUMBERS = ("0", "1", "2", "3", "5", "-1", "7.5", "0.5", "1e-3", "1e9", "2000", "2147483648")
SMALL: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "maze": (
            *("--size", "5", "--episode-length", "6", "--hidden-size", "4", "--n-envs", "2"),
            *("--total-timesteps", "24", "--eval-episodes", "2"),
        ),
        "CartPole-v1": (
            *("--hidden-size", "4", "--n-envs", "2", "--n-steps", "6", "--total-timesteps", "24"),
            *("--eval-episodes", "2"),
        ),
        "patterns": ("--n-bits", "6", "--n-cycles", "1", "--total-episodes", "2", "--eval-episodes", "2"),
    }
)
TASKS = {
    name: {task: options_of(COMMANDS[name], task_named(task)) for task in SMALL}
    for name in ("train", "compare", "sweep")
}
OTHERS = {"evaluate": Evaluate, "watch": Watch}


def options(command: type[Any]) -> Iterator[tuple[str, Any]]:
    """Names of a command's options, with their types; those of its groups too."""
    hints = get_type_hints(command, include_extras=False)
    for field in fields(command):
        kind = hints[field.name]
        if is_dataclass(kind):
            assert isinstance(kind, type)
            yield from options(kind)
        elif field.default is not MISSING or field.default_factory is not MISSING or field.name != "run":
            yield flag_of(command, field.name), kind


def value(kind: Any, rng: random.Random, scratch: Path) -> list[str]:
    """Words after an option: right more often than not."""
    if rng.random() < 0.3:
        return [rng.choice(JUNK)]
    if get_origin(kind) is Literal:
        return [str(rng.choice(get_args(kind)))]
    if get_origin(kind) is tuple:
        return [word for _ in range(rng.randint(0, 3)) for word in value(get_args(kind)[0], rng, scratch)]
    if get_origin(kind) is Mapping:
        return [f"{rng.choice(('sutton_barto_reward', 'size', *JUNK))}={rng.choice((*NUMBERS, *JUNK))}"]
    if kind is bool:
        return []
    if kind is Path or Path in get_args(kind):
        return [str(scratch / rng.choice(("here", "file", "no/such/place", "a.gif")))]
    return [rng.choice(NUMBERS)]


def command_line(rng: random.Random, scratch: Path, run: Path) -> list[str]:
    """One that may be right."""
    name = rng.choice((*TASKS, *TASKS, *OTHERS, "resume", "demo", rng.choice(JUNK)))
    root = ["--root", str(scratch / f"runs_{rng.randint(0, 9)}"), "--threads", "1", "--quiet"]
    words: list[str]
    if name in TASKS:
        task = rng.choice(sorted(TASKS[name]))
        words, known = [name, task, *root, *SMALL[task]], list(options(TASKS[name][task]))
        if name == "compare":  # side by side each run would begin with importing torch
            words += ["--seeds", "1", "--jobs", "1", "--cores", "plastic"]
            known = [option for option in known if option[0] != "--jobs"]
        if name == "sweep":  # a cluster takes longer to start than a command has here
            words += ["--seeds", "1", "--local", "--cores", "plastic"]
    elif name in OTHERS:
        words, known = [name, str(rng.choice((run, scratch)))], list(options(OTHERS[name]))
    elif name == "resume":
        words, known = ["train", "--resume", str(rng.choice((run, scratch)))], list(options(Resume))
    else:  # a demo that can begin is a long one
        words = [name, "--seeds", rng.choice(JUNK)]
        known = []
    for _ in range(rng.randint(0, 4) if known else 0):
        option, kind = rng.choice(known)
        if rng.random() < 0.1:
            option = option[: rng.randint(2, len(option))] + rng.choice(("", "s", "-"))
        words += [option, *value(kind, rng, scratch)]
    if rng.random() < 0.1:
        words.insert(rng.randint(0, len(words)), rng.choice(JUNK))
    return words


def settings(rng: random.Random, whole: Any) -> Any:
    """A run's ``config.json`` with one thing changed."""
    odd: tuple[Any, ...] = (None, -1, 0, 0.5, 10**30, "x", "", [], {}, [1], True, "nan", 1e300)
    changed = dict(whole)
    key = rng.choice(sorted(changed))
    if isinstance(changed[key], dict) and rng.random() < 0.8:
        changed[key] = settings(rng, changed[key])
    elif rng.random() < 0.2:
        del changed[key]
    elif rng.random() < 0.2:
        changed[key + "s"] = changed.pop(key)
    else:
        changed[key] = rng.choice(odd)
    return changed
