import pytest

from plasticrl.envs.data.download import DataError
from plasticrl.envs.data.omniglot import OFFICIAL, OmniglotPart, arrange, is_drawing

PART = OmniglotPart("images_background", alphabets=2, first=1, last=3)
PLACES = {1: "Greek/character01", 2: "Greek/character02", 3: "Latin/character01"}


def members(prefix="images_background/"):
    return {
        f"{prefix}{PLACES[number]}/{number:04d}_{drawing:02d}.png": b""
        for drawing in (2, 1)
        for number in (3, 1, 2)
    }


def test_official_counts_are_those_published():
    assert [part.last - part.first + 1 for part in OFFICIAL.parts] == [964, 659]
    assert [part.alphabets for part in OFFICIAL.parts] == [30, 20]
    assert OFFICIAL.parts[1].first == OFFICIAL.parts[0].last + 1
    assert (OFFICIAL.parts[-1].last, OFFICIAL.drawings, OFFICIAL.side) == (1623, 20, 105)


@pytest.mark.parametrize("prefix", ["", "images_background/", "a/b/images_background/"])
def test_puts_drawings_in_order(prefix):
    names, alphabets = arrange(members(prefix), PART, 2, "x.zip")
    assert alphabets == ["Greek", "Greek", "Latin"]
    assert names == [
        [f"{prefix}{PLACES[number]}/{number:04d}_{drawing:02d}.png" for drawing in (1, 2)]
        for number in (1, 2, 3)
    ]


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("images_background/Greek/character01/0001_01.png", True),
        ("Greek/character01/0001_01.png", True),
        ("images_background/Japanese_(hiragana)/character01/0001_01.png", True),
        ("__MACOSX/images_background/Greek/character01/0001_01.png", False),
        ("images_background/Greek/character01/._0001_01.png", False),
        ("images_background/Greek/character01/0001_01.png.bak", False),
        ("images_background/Greek/0001_01.png", False),
        ("images_background/Greek/character01/", False),
        ("character01/0001_01.png", False),
    ],
)
def test_knows_a_drawing_by_its_name(name, answer):
    assert is_drawing(name) is answer


def without(*names):
    return {name: content for name, content in members().items() if not name.endswith(names)}


@pytest.mark.parametrize(
    ("found", "text"),
    [
        (without("0002_01.png"), r"x.zip lacks 1 drawings \(0002_01.png\); .* has 6 drawings"),
        (without("_02.png"), r"x.zip lacks 3 drawings \(0001_02.png, 0002_02.png, 0003_02.png\)"),
        ({}, r"x.zip lacks 6 drawings \(.*, \.\.\.\)"),
        (members() | {"Latin/character09/0004_01.png": b""}, r"has 1 drawings \(0004_01.png\), which"),
        (members() | {"Latin/character01/0003_03.png": b""}, r"has 1 drawings \(0003_03.png\), which"),
        (members() | {"Latin/character01/0003_01.png": b""}, "character 0003 is in two places"),
        (without("0001_02.png") | {"Latin/character02/0001_02.png": b""}, "character 0001 is in two places"),
        ({"readme.txt": b""}, "'readme.txt' is not the name of an Omniglot drawing"),
    ],
)
def test_names_what_is_wrong(found, text):
    with pytest.raises(DataError, match=text):
        arrange(found, PART, 2, "x.zip")


def test_counts_the_alphabets():
    with pytest.raises(DataError, match=r"x\.zip has 2 alphabets instead of the 3 of images_background"):
        arrange(members(), PART._replace(alphabets=3), 2, "x.zip")
