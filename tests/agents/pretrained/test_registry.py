"""The trained agents of the package are there, small, and as good as their cards say."""

import json
import re
import shlex
from typing import Any

import numpy as np
import pytest

from plasticrl import PlasticLSTM
from plasticrl.agents import PRETRAINED, EpisodeLearner, RecurrentPPO, load_pretrained
from plasticrl.agents.pretrained.registry import pretrained_folder
from plasticrl.envs import OneShotTask, PatternsTask, make_vec_env
from plasticrl.scripts.commands import parse
from plasticrl.scripts.main import main
from plasticrl.scripts.runs.folder import read_run

MOST_BYTES = 3_000_000
AGENTS = [name for name, kept in PRETRAINED.items() if kept.learner == "ppo"]


def result_of(name: str) -> Any:
    return json.loads((pretrained_folder(name) / "result.json").read_text())


@pytest.mark.parametrize("name", PRETRAINED)
def test_each_has_settings_scores_one_checkpoint_and_a_card(name: str) -> None:
    folder, kept = pretrained_folder(name), PRETRAINED[name]
    files = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    (checkpoint,) = (path.name for path in (folder / "checkpoints").iterdir())
    assert files == {"config.json", "result.json", "CARD.md", f"checkpoints/{checkpoint}"}
    config = json.loads((folder / "config.json").read_text())
    assert config["core"] == kept.core
    assert config["learner"] == kept.learner
    card = (folder / "CARD.md").read_text()
    assert kept.task in card
    assert f"plasticrl evaluate pretrained:{name}" in card
    evaluation = result_of(name)["evaluation"]
    mean = evaluation.get("mean_reward")
    if mean is None:
        mean = 100 * next(iter(evaluation["metrics"].values()))["mean"]
        assert f"{mean:.2f} % " in card
    else:
        assert f"{mean:.1f} points per episode" in card


@pytest.mark.parametrize("name", PRETRAINED)
def test_the_command_on_the_card_trains_it(name: str) -> None:
    card = (pretrained_folder(name) / "CARD.md").read_text()
    found = re.search(r"\n    plasticrl (train .*?)\n\n", card, re.DOTALL)
    if found is None:
        assert "\n    plasticrl reproduce omniglot" in card
        return
    options = parse(shlex.split(found[1].replace("\\\n", "")))
    assert options.make_run(options.core, options.seed) == read_run(pretrained_folder(name))


def test_together_they_are_small() -> None:
    folder = pretrained_folder("maze").parent
    assert sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) < MOST_BYTES


@pytest.mark.parametrize("name", AGENTS)
def test_new_episodes_bear_out_the_card(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    episodes = 60
    assert (
        main(["evaluate", f"pretrained:{name}", "--episodes", str(episodes), "--seed", "77", "--json"]) == 0
    )
    found, card = json.loads(capsys.readouterr().out), result_of(name)["evaluation"]
    error = card["std_reward"] * np.sqrt(1 / episodes + 1 / card["episodes"])
    assert abs(found["mean_reward"] - card["mean_reward"]) <= 4 * error


def test_new_patterns_bear_out_the_card() -> None:
    learner = load_pretrained("patterns", device="cpu")
    assert isinstance(learner, EpisodeLearner)
    card = result_of("patterns")["evaluation"]["metrics"]["bit_error"]
    found = learner.evaluate(500, seed=77).metrics["bit_error"]
    assert found.low < card["high"]
    assert found.high > card["low"]


def test_by_environment_and_core() -> None:
    first = load_pretrained("PlasticMaze-v0", device="cpu")
    assert isinstance(first, RecurrentPPO)
    assert isinstance(first.policy.core, PlasticLSTM)
    other = load_pretrained("PlasticMaze-v0", core="lstm", device="cpu")
    assert isinstance(other, RecurrentPPO)
    assert not isinstance(other.policy.core, PlasticLSTM)
    env = make_vec_env("PlasticMaze-v0", n_envs=2, seed=0)
    agent = load_pretrained("maze", env=env, device="cpu")
    assert isinstance(agent, RecurrentPPO)
    assert agent.learn(2 * agent.n_steps, reset_num_timesteps=False).num_timesteps > 2_500_000


def test_characters_of_ones_own() -> None:
    images = np.random.default_rng(0).integers(0, 256, (25, 2, 31, 31), dtype=np.uint8)
    learner = load_pretrained("omniglot", task=OneShotTask(images, n_way=20), device="cpu")
    assert isinstance(learner, EpisodeLearner)
    assert learner.evaluate(4, OneShotTask(images, n_way=5)).n_episodes == 4


@pytest.mark.parametrize(
    ("name", "options", "says"),
    [
        ("chess", {}, "no pretrained agent 'chess'; there are maze"),
        ("PlasticMaze-v0", {"core": "gru"}, "no pretrained agent 'PlasticMaze-v0' with core 'gru'"),
        ("omniglot", {}, "give the task whose pictures it should classify"),
        ("patterns", {"env": "CartPole-v1"}, "patterns takes task, not env"),
        ("maze", {"task": PatternsTask(10)}, "maze takes env, not task"),
    ],
)
def test_what_there_is_not_is_named(name: str, options: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        load_pretrained(name, **options)


def test_an_unknown_name_on_the_command_line_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", "pretrained:chess"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("plasticrl: error: there is no pretrained agent 'chess'")
    assert said.count("\n") == 1


def test_it_can_be_watched(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["watch", "pretrained:maze"]) == 0
    assert "rewards" in capsys.readouterr().out
