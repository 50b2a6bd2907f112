"""Settings in a file that the user names: written by hand in YAML or JSON, or a run's ``config.json``."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from yaml import AliasEvent, SafeLoader, YAMLError

from plasticrl.scripts.errors import UserError, one_line, os_error_in_one_line, perhaps
from plasticrl.scripts.runs.folder import CONFIG, MOST_BYTES, json_object, run_of, without_duplicates
from plasticrl.scripts.runs.run import Run, run_from_dict
from plasticrl.scripts.settings.groups import flag_of, value_of
from plasticrl.whole_files import check_size, open_regular

Options = TypeVar("Options")
_SUFFIXES = {".yaml": "YAML", ".yml": "YAML", ".json": "JSON"}
_NOT_IN_FILES = ("own", "config")  # fields of a command's options that are no settings
_OF_ONE_RUN = ("algo", "core", "seed")  # settings in a run's file that some commands lack


@dataclass(frozen=True)
class SettingsFile:
    """The settings in a file.

    Attributes:
        path: the file.
        values: settings by their names, or by that of their group and then by theirs.
        of_run: True for a run's ``config.json``.
    """

    path: Path
    values: Mapping[str, Any] = field(hash=False)
    of_run: bool = False

    def name(self, setting: str) -> str:
        """Return a setting that is a name, such as ``preset``; empty if it is missing or another value."""
        value = self.values.get(setting)
        return value if isinstance(value, str) else ""

    @property
    def names(self) -> set[str]:
        """Names of the settings, and of their groups."""
        inside = (value for value in self.values.values() if isinstance(value, dict))
        return set(self.values).union(*inside)


def read_settings(path: Path, task: str) -> SettingsFile:
    """Read a file of settings for a task.

    Args:
        path: a file that ends in .yaml, .yml or .json.
        task: name of the task.

    Raises:
        UserError: it cannot be read, holds no settings, or those of another task.
    """
    kind = _SUFFIXES.get(path.suffix.lower())
    if path.is_dir():
        raise UserError(f"--config {path} is a folder: give a file, such as {path / CONFIG}")
    if kind is None:
        raise UserError(f"--config {path}: give a file that ends in .yaml, .yml or .json")
    if not path.exists():
        raise UserError(f"--config {path} does not exist")
    try:
        with open_regular(path, links=True) as stream:
            text = stream.read(check_size(path, stream, MOST_BYTES)).decode()
        values = json_object(text) if kind == "JSON" else _yaml_object(text)
    except OSError as error:
        raise UserError(os_error_in_one_line(error, f"cannot read {path}")) from error
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError, YAMLError) as error:
        raise UserError(f"{path} is not valid {kind} ({_cause(error)}): correct it") from error
    file = SettingsFile(path, values)
    if _is_of_run(values):
        run = run_of(path, values)
        file = SettingsFile(path, {"task": run.task, "algo": run.learner, **_flat(run)}, of_run=True)
    if (other := file.values.get("task", task)) != task:
        raise UserError(f"{path} is for {one_line(other)}, not for {task}: give another file")
    return file


def with_file(options: Options, file: SettingsFile, given: Collection[str], named: str) -> Options:
    """Return the options of a command with the settings in a file.

    Args:
        options: the options, which may have groups of settings.
        file: the file.
        given: names of the options on the command line, which override those in the file.
        named: the command, for messages.

    Raises:
        UserError: the file has a setting that the command lacks, or a value of a wrong type.
    """
    groups = {one.name: getattr(options, one.name) for one in fields(options)}  # type: ignore[arg-type]
    groups = {name: group for name, group in groups.items() if is_dataclass(group)}
    kinds = {"": type(options), **{name: type(group) for name, group in groups.items()}}
    holders = {one.name: name for name, kind in kinds.items() for one in fields(kind)}
    known = holders.keys() - groups.keys() - {*_NOT_IN_FILES}
    changed: dict[str, dict[str, Any]] = {name: {} for name in kinds}
    for name, value in _ungrouped(file, groups).items():
        if name not in known:
            if name == "task" or (file.of_run and name in _OF_ONE_RUN):
                continue
            raise UserError(f"{file.path}: {named} has no {name}{perhaps(name.replace('-', '_'), known)}")
        kind = kinds[holders[name]]
        try:
            checked = value_of(get_type_hints(kind)[name], name, value)
        except TypeError as error:
            raise UserError(f"{file.path}: {one_line(error)}") from error
        if flag_of(kind, name)[2:].replace("-", "_") not in given:
            changed[holders[name]][name] = checked
    whole = {name: replace(group, **changed[name]) for name, group in groups.items()}
    return replace(options, **changed[""], **whole)  # type: ignore[type-var]


def _ungrouped(file: SettingsFile, groups: Collection[str]) -> dict[str, Any]:
    """Return settings by their names alone.

    Raises:
        UserError: one is given twice.
    """
    pairs: list[tuple[str, Any]] = []
    for name, value in file.values.items():
        pairs += value.items() if name in groups and isinstance(value, dict) else [(str(name), value)]
    try:
        return without_duplicates(pairs)
    except ValueError as error:
        raise UserError(f"{file.path}: {error}: leave one out") from error


def _is_of_run(values: dict[str, Any]) -> bool:
    """Return True for the content of a run's ``config.json``, which in version 1 does not say so."""
    try:
        run_from_dict(values)
    except (KeyError, TypeError):
        return "version" in values
    return True


def _flat(run: Run) -> dict[str, Any]:
    plain = run.as_dict()
    settings = {name: value for group in run.groups for name, value in plain[group].items()}
    begun = {} if run.init_from is None else {"init_from": run.init_from}
    return {"core": run.core, "seed": run.seed, **begun, **settings}


def _yaml_object(text: str) -> dict[str, Any]:
    """Return the mapping that YAML holds, with plain values as in JSON.

    Raises:
        ValueError, TypeError, YAMLError: it holds another thing.
    """
    loader = _Loader(text)
    try:
        data = loader.get_single_data()
    finally:
        loader.dispose()
    if not isinstance(data, dict):
        raise ValueError("it is not a mapping of names to values")
    json.dumps(data, allow_nan=False)
    return data


class _Loader(SafeLoader):  # type: ignore[misc]
    """PyYAML's safe loader without aliases, which can make a short file long, and repeated names."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(AliasEvent):
            raise ValueError("it holds an alias: write the value itself")
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        without_duplicates((key.value, None) for key, _ in node.value)
        found: dict[Any, Any] = super().construct_mapping(node, deep)
        return found

    def construct_yaml_int(self, node: Any) -> Any:
        """Refuse YAML 1.1's numbers to the base 8 or 60: ``010`` would be 8, and ``1:30`` 90."""
        if re.match(r"[-+]?(0\d|.*:)", node.value):
            raise ValueError(f"{node.value} is no whole number: write it without leading zeros and colons")
        return super().construct_yaml_int(node)


_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.construct_yaml_int)
# PyYAML reads YAML 1.1, in which 1e-3 is a text.
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"), list("-+.0123456789")
)


def _cause(error: Exception) -> str:
    """Return the cause of an error in a file, with its line if that is known."""
    mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None)
    return one_line(error if mark is None else f"line {mark.line + 1}: {problem}")
