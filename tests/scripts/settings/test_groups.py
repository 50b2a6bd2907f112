from dataclasses import MISSING, asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import pytest

from plasticrl.scripts.errors import UserError
from plasticrl.scripts.experiments.paper import EXPERIMENTS
from plasticrl.scripts.settings.groups import data_place, settings_from, with_home
from plasticrl.scripts.settings.maze import A2C_PRESETS, A2CSettings
from plasticrl.scripts.settings.tasks import TASKS

AGENT = A2C_PRESETS["tuned"].agent
PPO = EXPERIMENTS["maze", "quick"].condition("recurrent_ppo").run.ppo
GROUPS = [
    group
    for task in TASKS.values()
    for learner in task.learners.values()
    for one in learner.presets.values()
    for group in one.groups.values()
]


@pytest.mark.parametrize("settings", GROUPS, ids=lambda settings: type(settings).__name__)
def test_settings_are_made_again(settings: Any) -> None:
    assert settings_from(type(settings), asdict(settings)) == settings


def test_a_whole_number_will_do_for_a_float_but_not_the_other_way_round() -> None:
    found = settings_from(A2CSettings, {**asdict(AGENT), "gamma": 1})
    assert found == replace(AGENT, gamma=1.0)
    assert type(found.gamma) is float
    with pytest.raises(TypeError, match=r"hidden_size is 64\.0"):
        settings_from(A2CSettings, {**asdict(AGENT), "hidden_size": 64.0})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("hidden_size", True),
        ("hidden_size", "64"),
        ("hidden_size", 10**30),
        ("gamma", float("nan")),
        ("gamma", 10**30),
        ("bound_eta", 1),
        ("rule", "bcm"),
        ("rule", []),
        ("eta", None),
    ],
)
def test_a_value_of_another_type_is_refused_by_name(name: str, value: Any) -> None:
    with pytest.raises(TypeError, match=name):
        settings_from(A2CSettings, {**asdict(AGENT), name: value})


@pytest.mark.parametrize(
    "group", [kind for t in TASKS.values() for learner in t.learners for kind in t.groups(learner).values()]
)
def test_of_missing_ones_those_alone_are_filled_in_that_have_a_default(group: Any) -> None:
    kinds = {type(one): one for one in (*GROUPS, PPO)}
    plain = asdict(kinds[group])
    for field in fields(group):
        less = {name: value for name, value in plain.items() if name != field.name}
        if field.default is MISSING:
            with pytest.raises(TypeError, match=f"^{field.name} is missing"):
                settings_from(group, less)
        else:
            assert settings_from(group, less) == replace(kinds[group], **{field.name: field.default})


def test_missing_and_unknown_ones_are_refused_by_name() -> None:
    plain = asdict(AGENT)
    with pytest.raises(TypeError, match="etas is unknown"):
        settings_from(A2CSettings, {**plain, "etas": 1})
    del plain["eta"]
    with pytest.raises(TypeError, match="eta is missing"):
        settings_from(A2CSettings, plain)
    with pytest.raises(TypeError, match="object"):
        settings_from(A2CSettings, [])


@dataclass(frozen=True)
class Inner:
    place: Path | None
    words: str


@dataclass(frozen=True)
class Outer:
    inner: Inner
    place: Path


def test_the_home_folder_is_expanded_in_paths_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    given = Outer(Inner(Path("~/a"), "~/a"), Path("~"))
    assert with_home(given) == Outer(Inner(tmp_path / "a", "~/a"), tmp_path)
    for plain in (Outer(Inner(None, ""), Path("a/~/b")), Outer(Inner(Path("b~"), "~"), tmp_path / "~")):
        assert with_home(plain) == plain


@pytest.mark.parametrize("given", [Path("~/data"), None])
def test_the_place_of_data_may_be_below_the_home_folder(
    given: Path | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PLASTICRL_DATA", "~/data" if given is None else "/elsewhere")
    assert data_place(given) == tmp_path / "data"


def test_the_home_of_nobody_is_refused_by_the_name_of_the_option() -> None:
    with pytest.raises(UserError, match=r"^place: there is no home folder ~nobody-of-that-name for "):
        with_home(Outer(Inner(Path("~nobody-of-that-name/a"), ""), Path()))
