"""What the parser of the command line says in boxes, in one line."""

import re

_ANSI = re.compile(r"\x1b\[[0-9;]*m")
_RULE = re.compile(r"^[─-]{9,}$", flags=re.MULTILINE)
_APPLIED = re.compile(r" \(applied to ([a-z ]+)\)")
_ORDER = re.compile(r" Arguments are applied to the directly preceding subcommand, so ordering can matter")
_WHOLE = re.compile(r"[Ee]rror parsing (\S+): invalid literal for int\(\) with base 10: ('[^']*')")
_OPTION = re.compile(r"^(?=--(?!help))", flags=re.MULTILINE)  # a narrow terminal breaks lines before --help
_NAMES = re.compile(r"--[\w-]+(, --[\w-]+)*")
_CHOICES = re.compile(r"Expected one of \(([^)]*)\)")


def complaint_in_one_line(boxes: str) -> str:
    """What tyro says in boxes, in one line: the complaint, what was perhaps meant, where to read more."""
    drawn = _ANSI.sub("", boxes).splitlines()
    if len(drawn) > 1 and _RULE.fullmatch(drawn[1].strip()):  # where the terminal knows only ASCII
        drawn = drawn[2:]
    lines = [line.strip("│ ") for line in drawn if not line.startswith(("╭", "╰"))]
    first, *parts = _RULE.split("\n".join(lines))
    complaint = " ".join(first.split())
    text = _plainer(complaint.rstrip("."))
    applied = _APPLIED.search(complaint)
    for part in parts:
        section = " ".join(part.split())
        if section.startswith(("Perhaps", "Arguments similar")):
            options = _options(part, None if applied is None else applied[1])
            known = [name for name in options if f"{name} " not in f"{text} "]
            text += f"; perhaps you meant {' or '.join(known)}" if known else ""
        elif section.startswith("Available"):
            text += f"; {section[0].lower()}{section[1:]}"
        elif section.startswith("For full helptext"):
            where = section.split(" ", 4)[-1].removeprefix("run ").removeprefix("run: ")
            text += f" (see {where if applied is None else f'{applied[1]} --help'})"
    return text[0].lower() + text[1:]


def _options(part: str, command: str | None) -> list[str]:
    """The options that a section lists, each with its help; only those of the command, if one is given."""
    blocks = [" ".join(block.split()) for block in _OPTION.split(part)[1:]]
    asked = [block for block in blocks if command is None or f"in {command} --help" in block]
    names = [name for block in asked for name in _NAMES.match(block)[0].split(", ")]  # type: ignore[index]
    return list(dict.fromkeys(names))


def _plainer(text: str) -> str:
    """The parser's complaint in our own words, where its own mislead."""
    if applied := _APPLIED.search(text):
        words = _ORDER.sub("", _APPLIED.sub("", text)).partition(": ")[2]
        return f"{applied[1].removeprefix('plasticrl ')} has no {words}"
    text = _WHOLE.sub(r"\1 must be a whole number, such as 1000000, not \2", text)
    return _CHOICES.sub(lambda found: f"Expected one of {', '.join(sorted(found[1].split(', ')))}", text)
