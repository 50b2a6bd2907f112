"""What the parser of the command line says in boxes, in one line."""

import re
from collections.abc import Sequence
from difflib import get_close_matches

_ANSI = re.compile(r"\x1b\[[0-9;]*m")
_RULE = re.compile(r"^[─-]{9,}$", flags=re.MULTILINE)
_UNKNOWN = re.compile(r"Unrecognized options: (.*)")
_WHOLE = re.compile(r"[Ee]rror parsing (\S+): .*?invalid literal for int\(\) with base 10: ('[^']*')")
_OPTION = re.compile(r"^(?=--(?!help))", flags=re.MULTILINE)  # a narrow terminal breaks lines before --help
_NAMES = re.compile(r"--[\w-]+(, --[\w-]+)*")
_CHOICES = re.compile(r"Expected one of \(([^)]*)\)")


def complaint_in_one_line(boxes: str, program: str) -> str:
    """What tyro says in boxes, in one line: the complaint, what was perhaps meant, where to read more.

    Args:
        boxes: what it says.
        program: the command, as it is called, whose words it has parsed.
    """
    drawn = _ANSI.sub("", boxes).splitlines()
    if len(drawn) > 1 and _RULE.fullmatch(drawn[1].strip()):  # where the terminal knows only ASCII
        drawn = drawn[2:]
    lines = [line.strip("│ ") for line in drawn if not line.startswith(("╭", "╰"))]
    first, *parts = _RULE.split("\n".join(lines))
    text = _plainer(" ".join(first.split()).rstrip("."), program.partition(" ")[2])
    for part in parts:
        section = " ".join(part.split())
        if section.startswith(("Perhaps", "Arguments similar")):
            known = [name for name in _options(part) if f"{name} " not in f"{text} "]
            text += f"; perhaps you meant {' or '.join(known)}" if known else ""
    return f"{text[0].lower()}{text[1:]} (see {program} --help)"


def no_such_name(what: str, word: str, names: Sequence[str]) -> str:
    """The complaint about a word where a name must stand, in one line, with what was perhaps meant.

    Args:
        what: the kind of thing that is named.
        word: the word, perhaps an option.
        names: those that there are.
    """
    if word == "--version":
        return "--version stands alone: plasticrl --version"
    if word.startswith("-"):
        return f"the {what} comes before {word}, as in plasticrl train maze --seed 0"
    close = get_close_matches(word, names, n=1)
    perhaps = f" perhaps you meant {close[0]};" if close else ""
    return f"there is no {what} {word};{perhaps} there are {', '.join(names)}"


def _options(part: str) -> list[str]:
    """The options that a section lists, each with its help."""
    found = (_NAMES.match(block) for block in _OPTION.split(part)[1:])
    return list(dict.fromkeys(name for names in found if names for name in names[0].split(", ")))


def _plainer(text: str, command: str) -> str:
    """The parser's complaint in our own words, where its own mislead."""
    if command and (unknown := _UNKNOWN.fullmatch(text)):
        return f"{command} has no {unknown[1].replace(', ', ' ')}"
    text = _WHOLE.sub(r"\1 must be a whole number, such as 1000000, not \2", text)
    return _CHOICES.sub(lambda found: f"Expected one of {', '.join(sorted(found[1].split(', ')))}", text)
