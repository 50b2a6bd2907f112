"""Commands take agents that Python saved, with the id of their environment."""

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from refusals import check_refused
from stable_baselines3.common.vec_env import VecNormalize

from plasticrl.agents import CoreName, RecurrentA2C, RecurrentPPO, evaluate_policy
from plasticrl.envs import make_vec_env
from plasticrl.scripts.main import main
from plasticrl.scripts.tasks.environments.evaluation import OwnRandomNumbers

LEARNERS = {"a2c": RecurrentA2C, "ppo": RecurrentPPO}


def saved(kind: Any, env: Any, file: Path, core: CoreName = "lstm") -> Any:
    agent = kind("PlasticPolicy", env, n_steps=16, policy_kwargs={"core": core, "hidden_size": 8}, seed=0)
    agent.learn(32).save(file)
    return agent


@pytest.mark.parametrize("algo", LEARNERS)
def test_it_is_evaluated_as_by_evaluate_policy(
    algo: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "agent.safetensors"
    agent = saved(LEARNERS[algo], "FrozenLake-v1", file)
    words = ["evaluate", str(tmp_path / "agent"), "--env", "FrozenLake-v1", "--episodes", "20", "--seed", "5"]
    assert main([*words, "--no-deterministic", "--env-kwargs", "is_slippery=false", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    env = make_vec_env("FrozenLake-v1", n_envs=8, seed=5, env_kwargs={"is_slippery": False})
    with OwnRandomNumbers(5):
        rewards, lengths = evaluate_policy(
            agent, env, n_eval_episodes=20, deterministic=False, return_episode_rewards=True
        )
    assert shown["mean_reward"] == sum(rewards) / 20
    assert shown["median_length"] == sorted(lengths)[9] / 2 + sorted(lengths)[10] / 2
    assert shown["checkpoint"] == str(file)


def test_the_title_names_environment_and_core(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    saved(RecurrentPPO, "CartPole-v1", tmp_path / "agent.zip", "plastic")
    words = ["evaluate", str(tmp_path / "agent.zip"), "--env", "CartPole-v1", "--episodes", "2"]
    assert main(words) == 0
    assert "CartPole-v1, plastic, 32 steps: agent.zip" in capsys.readouterr().out


def test_the_environment_is_wrapped_and_normalized(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    env = VecNormalize(make_vec_env("CartPole-v1", n_envs=2, seed=0))
    agent = saved(RecurrentA2C, env, tmp_path / "agent.safetensors")
    words = ["evaluate", str(tmp_path / "agent.safetensors"), "--env", "CartPole-v1", "--episodes", "20"]
    check_refused(words, "was trained with VecNormalize: add --normalize", capsys)
    options = ["--wrapper", "gymnasium.wrappers:FlattenObservation", "--normalize", "--seed", "5", "--json"]
    assert main([*words, *options]) == 0
    shown = json.loads(capsys.readouterr().out)
    test = VecNormalize(make_vec_env("CartPole-v1", n_envs=8, seed=5), training=False, norm_reward=False)
    test.obs_rms = env.obs_rms
    mean, _ = evaluate_policy(agent, test, n_eval_episodes=20, deterministic=True)
    assert shown["mean_reward"] == pytest.approx(mean)
    check_refused([*words, "--normalize", "--frame-stack", "2"], "spaces do not match", capsys)


@pytest.mark.parametrize("env_id", ["PlasticMaze-v0", "FrozenLake-v1"])
def test_it_is_watched_before_and_after_its_training(
    env_id: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "agent.safetensors"
    saved(RecurrentPPO, env_id, file)
    options = ["--env-kwargs", "episode_length=20", "size=5"] if "Maze" in env_id else []
    words = ["watch", str(file), "--env", env_id, *options, "--before"]
    assert main(words) == 0
    assert "before training" in capsys.readouterr().out
    if "Maze" in env_id:
        assert main([*words, "--gif", str(tmp_path / "a.gif")]) == 0
        with Image.open(tmp_path / "a.gif") as picture:
            assert picture.n_frames == 20  # type: ignore[attr-defined]


@pytest.mark.parametrize("command", ["evaluate", "watch"])
def test_what_does_not_fit_is_refused(
    command: str, trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "agent.safetensors"
    saved(RecurrentA2C, "FrozenLake-v1", file)
    words = [command, str(file)]
    check_refused(words, "the id of its environment, --env ID", capsys)
    check_refused([*words, "--env", "FrozenLake8x8-v1"], "spaces do not match", capsys)
    check_refused([*words, "--env", "maze"], "give the id of an environment", capsys)
    check_refused([*words, "--env", "Froze Lake"], "nor the id of an environment", capsys)
    check_refused([*words, "--env", "FrozenLak-v1"], "perhaps you meant FrozenLake-v1", capsys)
    check_refused([*words, "--env", "FrozenLake-v1", "--env-kwargs", "x=1"], "refuses its arguments", capsys)
    check_refused([command, str(trained), "--env-kwargs", "x=1"], "leave out --env-kwargs", capsys)
    (tmp_path / "text").write_text("no tensors")
    check_refused([command, str(tmp_path / "text"), "--env", "Taxi-v3"], "cannot be loaded", capsys)
    checkpoint = str(max((trained / "checkpoints").iterdir()))
    wrong = {"evaluate": "env is 'Taxi-v3', which is not allowed", "watch": "leave out --env"}
    check_refused([command, checkpoint, "--env", "Taxi-v3"], wrong[command], capsys)


def test_options_of_the_maze_are_not_for_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    saved(RecurrentA2C, "FrozenLake-v1", tmp_path / "agent.safetensors")
    words = ["evaluate", str(tmp_path / "agent.safetensors"), "--env", "FrozenLake-v1", "--lesion", "frozen"]
    check_refused(words, "--lesion: there is no such thing on FrozenLake-v1", capsys)
