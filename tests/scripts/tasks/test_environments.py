"""Any Gymnasium environment is trained, evaluated, compared and resumed as the maze is."""

import csv
import json
import math
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from refusals import check_refused
from stable_baselines3.common.vec_env import SubprocVecEnv, unwrap_vec_normalize
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from plasticrl.agents import CORE_NAMES, CoreName, RecurrentA2C, RecurrentPPO, evaluate_policy
from plasticrl.agents.common import tags
from plasticrl.agents.presets import A2C, PPO, missing_packages
from plasticrl.envs import make_vec_env
from plasticrl.scripts.commands import parse
from plasticrl.scripts.experiments.training import train
from plasticrl.scripts.main import main
from plasticrl.scripts.runs.folder import read_run
from plasticrl.scripts.runs.terminal import Report
from plasticrl.scripts.tasks.environments.setup import load_learner, make_envs, make_learner, make_test_envs
from plasticrl.scripts.tasks.task import EVALUATION_SEEDS

SMALL = [
    *["--n-envs", "4", "--n-steps", "10", "--hidden-size", "8", "--eval-episodes", "6"],
    *["--total-timesteps", "240", "--checkpoints", "3", "--threads", "1", "--quiet"],
]
MODULE = '''
import gymnasium as gym
import numpy as np


class Corridor(gym.Env):
    """Points for each step to the right; the first square has a wall to the left, which the masks know."""

    observation_space = gym.spaces.Box(0, 1, (1,), np.float32)
    action_space = gym.spaces.Discrete(2)

    def __init__(self, length=5, masked=False):
        self.length = length
        if masked:
            self.action_masks = lambda: np.array([self.at > 0, True])

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.at = self.steps = 0
        return np.zeros(1, np.float32), {}

    def step(self, action):
        assert action or self.at or not hasattr(self, "action_masks")
        self.at, self.steps = max(0, self.at + (1 if action else -1)), self.steps + 1
        over = self.at == self.length
        return np.float32([self.at / self.length]), float(action), over, self.steps == 12, {}


class Twice(gym.RewardWrapper):
    def reward(self, reward):
        return 2 * reward


class Wrong(Corridor):
    def action_masks(self):
        return np.array([True] * 3)


class Ending(Corridor):
    def step(self, action):
        raise ConnectionResetError("gone")


gym.register("Wrong-v0", Wrong)
gym.register("Ending-v0", Ending)
gym.register("Corridor-v0", Corridor)
gym.register("own/Corridor-v0", Corridor)
'''


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The current folder, which holds the module ``corridor``."""
    (tmp_path / "corridor.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield tmp_path
    sys.modules.pop("corridor", None)
    for name in ("Corridor-v0", "own/Corridor-v0", "Wrong-v0", "Ending-v0"):
        gym.registry.pop(name, None)


ARGUMENTS: dict[str, Any] = {
    "FrozenLake-v1": {"map_name": "8x8"},
    "Pendulum-v1": {"g": 9.5},
    "Corridor-v0": {"length": 3},
}
ATARI = [("PongNoFrameskip-v4", "ale-py opencv-python-headless")]
ENVS = {
    "CartPole-v1": (["--algo", "ppo", "--core", "plastic_lstm"], "CartPole-v1_ppo/plastic_lstm"),
    "FrozenLake-v1": (["--core", "gru", "--env-kwargs", "map_name=8x8"], "FrozenLake-v1/gru"),
    "Pendulum-v1": (["--core", "plastic", "--env-kwargs", "g=9.5"], "Pendulum-v1/plastic"),
    "Corridor-v0": (["--import", "corridor", "--env-kwargs", "length=3"], "Corridor-v0/plastic"),
    "corridor:own/Corridor-v0": (["--core", "rnn", "--algo", "ppo"], "corridor_own_Corridor-v0_ppo/rnn"),
}


@pytest.mark.parametrize("env_id", ENVS)
def test_an_id_gets_what_the_maze_gets(env_id: str, module: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options, place = ENVS[env_id]
    assert main(["train", env_id, *options, "--seed", "2", *SMALL]) == 0
    folder = module / "runs" / place / "seed_2"
    names = {path.name.partition(".tfevents")[0] for path in folder.iterdir()}
    assert names == {".lock", "config.json", "progress.csv", "events.out", "checkpoints", "result.json"}
    config = json.loads((folder / "config.json").read_text())
    assert config["task"] == env_id
    imports = ["corridor"] if "--import" in options else []
    assert config["env"] == {
        "env_kwargs": ARGUMENTS.get(env_id, {}),
        "imports": imports,
        "wrapper": [],
        "normalize": False,
        "frame_stack": 1,
        "vec": "dummy",
    }
    with (folder / "progress.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row[tags.TIMESTEPS]) for row in rows] == list(range(40, 241, 40))
    assert all(row[tags.LOSS] for row in rows[1:])
    events = EventAccumulator(str(folder))
    events.Reload()
    shown = {"eval/mean_reward", "eval/median_length", tags.LOSS, tags.ENTROPY_LOSS}
    assert shown <= set(events.Tags()["scalars"])
    capsys.readouterr()
    for often in (["--json"], ["--json", "--deterministic"]):
        assert main(["evaluate", str(folder), *often]) == 0
        told = json.loads(capsys.readouterr().out)
        assert told["deterministic"] is True
        expected = json.loads((folder / "result.json").read_text())["evaluation"]
        assert {name: told[name] for name in expected} == expected
    assert main(["evaluate", str(folder), "--no-deterministic", "--episodes", "3", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["deterministic"], told["episodes"]) == (False, 3)


def test_the_evaluation_is_that_of_evaluate_policy(module: Path) -> None:
    """Mean, standard deviation and median are of new episodes, whose seeds no training has."""
    assert main(["train", "CartPole-v1", "--root", "r", *SMALL]) == 0
    folder = module / "r" / "CartPole-v1" / "plastic" / "seed_0"
    found = json.loads((folder / "result.json").read_text())["evaluation"]
    agent = RecurrentA2C.load(max((folder / "checkpoints").iterdir()))
    with closing(make_vec_env("CartPole-v1", n_envs=4, seed=EVALUATION_SEEDS)) as env:
        points, lengths = evaluate_policy(agent, env, 6, return_episode_rewards=True)
    assert found == {
        "episodes": 6,
        "mean_reward": np.mean(points),
        "std_reward": np.std(points),
        "median_length": np.median(lengths),
    }


@pytest.mark.parametrize("env_id", PPO)
def test_the_preset_of_an_id_is_its_default_and_that_of_from_preset(env_id: str) -> None:
    if missing_packages(PPO[env_id].imports):
        pytest.skip("its package is missing")
    command: Any = parse(["train", env_id, "--core", "plastic_gru", "--algo", "ppo", "--n-envs", "4"])
    run = command.make_run("plastic_gru", 0)
    with closing(make_envs(run, 4, 0)) as env:
        ours: Any = make_learner(run, env, "cpu")
    theirs = RecurrentPPO.from_preset(env_id, "plastic_gru", n_envs=4, seed=0, device="cpu")
    with closing(theirs.env):  # type: ignore[arg-type]
        assert ours.observation_space == theirs.observation_space
    for name in theirs.file_format.settings.keys() - {"learning_rate", "clip_range", "stats_window_size"}:
        assert getattr(ours, name) == getattr(theirs, name), name
    assert [ours.lr_schedule(at) for at in (1.0, 0.1)] == [theirs.lr_schedule(at) for at in (1.0, 0.1)]
    for mine, other in zip(ours.policy.parameters(), theirs.policy.parameters(), strict=True):
        assert torch.equal(mine, other)
    assert run.training.total_timesteps == PPO[env_id].total_timesteps
    assert command.entry.learner == ("a2c" if env_id in A2C else "ppo")


@pytest.mark.parametrize("words", [["--preset"], ["--preset", "list"], ["CartPole-v1", "--preset=list"]])
@pytest.mark.parametrize("name", ["train", "compare", "sweep"])
def test_the_ids_with_a_preset_are_listed(
    name: str, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([name, *words]) == 0
    rows = {
        line.split()[0]: line.split()[1:] for line in capsys.readouterr().out.splitlines() if line.strip()
    }
    assert rows.keys() >= {*PPO, *A2C}
    assert rows["popgym-RepeatFirstEasy-v0"][0] == "ppo"
    assert rows["MiniGrid-MemoryS7-v0"][-1] == "minigrid"
    assert rows["PlasticRecall-v0"][:2] == ["a2c,", "ppo"]


@pytest.mark.parametrize(("env_id", "package"), [("popgym-AutoencodeEasy-v0", "popgym"), *ATARI])
def test_an_id_whose_package_is_missing_names_the_command(
    env_id: str, package: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("plasticrl.agents.presets.find_spec", lambda name: None)
    check_refused(
        ["train", env_id], f"{env_id} needs a package that is missing: pip install {package}", capsys
    )


@pytest.mark.parametrize(("algo", "learner"), [("a2c", RecurrentA2C), ("ppo", RecurrentPPO)])
@pytest.mark.parametrize("core", CORE_NAMES)
def test_an_agent_of_a_command_is_the_one_that_python_makes(algo: str, learner: Any, core: CoreName) -> None:
    """Even the parameters are the same."""
    command: Any = parse(["train", "CartPole-v1", "--preset", "default", "--algo", algo, "--core", core])
    run = command.make_run(core, 0)
    with closing(make_envs(run, run.training.n_envs, 0)) as env:
        ours: Any = make_learner(run, env, "cpu")
        theirs = learner("PlasticPolicy", env, seed=0, policy_kwargs={"core": core}, device="cpu")
    for name in theirs.file_format.settings.keys() - {"learning_rate", "clip_range", "stats_window_size"}:
        assert getattr(ours, name) == getattr(theirs, name), name
    assert [ours.lr_schedule(at) for at in (1.0, 0.1)] == [theirs.lr_schedule(at) for at in (1.0, 0.1)]
    assert repr(ours.policy) == repr(theirs.policy)
    assert ours.policy.return_moments is not None
    found, expected = ours.policy.state_dict(), theirs.policy.state_dict()
    assert found.keys() == expected.keys()
    assert all(torch.equal(value, expected[name]) for name, value in found.items())


@pytest.mark.parametrize(("algo", "learner"), [("a2c", RecurrentA2C), ("ppo", RecurrentPPO)])
def test_an_id_with_a_preset_gets_it(algo: str, learner: Any) -> None:
    command: Any = parse(["train", "PlasticMaze-v0", "--algo", algo, "--core", "lstm", "--n-envs", "4"])
    run = command.make_run("lstm", 0)
    with closing(make_envs(run, 4, 0)) as env:
        ours: Any = make_learner(run, env, "cpu")
        theirs = learner.from_preset("PlasticMaze-v0", "lstm", env, seed=0, device="cpu")
    assert ours.policy.return_moments is None
    for name in theirs.file_format.settings.keys() - {"learning_rate", "clip_range", "stats_window_size"}:
        assert getattr(ours, name) == getattr(theirs, name), name
    assert ours.lr_schedule(0.5) == theirs.lr_schedule(0.5)
    general: Any = parse(["train", "PlasticMaze-v0", "--preset", "default", "--algo", algo])
    assert general.agent == command.with_preset("default").agent
    assert general.agent.normalize_returns


def test_forbidden_actions_are_not_taken(module: Path) -> None:
    """The environment asserts it, in training and in evaluation."""
    words = ["train", "Corridor-v0", "--import", "corridor", "--env-kwargs", "masked=true"]
    assert main([*words, *SMALL]) == 0
    assert main(["evaluate", "runs/Corridor-v0/plastic/seed_0", "--no-deterministic"]) == 0


SHAPED = {
    "normalize": ["--normalize", "--no-normalize-observations"],
    "frames": ["--frame-stack", "3"],
    "wrapper": ["--wrapper", "corridor:Twice", "--wrapper", "gymnasium.wrappers:FlattenObservation"],
    "all": ["--wrapper", "corridor:Twice", "--normalize", "--frame-stack", "2", "--vec", "subproc"],
}


@pytest.mark.parametrize("options", SHAPED.values(), ids=SHAPED)
def test_an_environment_is_wrapped_in_training_and_evaluation(
    options: list[str], module: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small = [*SMALL, "--n-envs", "2"]  # a process each with --vec subproc
    assert main(["train", "Corridor-v0", "--import", "corridor", *options, *small]) == 0
    folder = module / "runs" / "Corridor-v0" / "plastic" / "seed_0"
    expected = json.loads((folder / "result.json").read_text())["evaluation"]
    capsys.readouterr()
    assert main(["evaluate", str(folder), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert {name: told[name] for name in expected} == expected
    agent = RecurrentA2C.load(max((folder / "checkpoints").iterdir()))
    width = {"frames": 3, "all": 2}.get(next(name for name, one in SHAPED.items() if one is options), 1)
    assert agent.observation_space.shape == (width,)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_a_signal_leaves_the_processes_of_environments_to_the_training(
    module: Path, number: signal.Signals
) -> None:
    """It may be sent to all processes, and the update under way still needs its environments."""
    words = ["train", "Corridor-v0", "--import", "corridor", "--vec", "subproc", *SMALL]
    run = parse(words).make_run("plastic", 0)
    with closing(make_envs(run, 2, 0)) as env:
        assert isinstance(env, SubprocVecEnv)
        env.reset()
        for process in env.processes:
            os.kill(process.pid or 0, number)
        _, rewards, _, _ = env.step(np.array([0, 1]))
        assert rewards.tolist() == [0.0, 1.0]


@pytest.mark.cluster
def test_environments_of_trainings_side_by_side_are_processes(module: Path) -> None:
    words = ["compare", "Corridor-v0", "--import", "corridor", "--vec", "subproc", "--cores", "rnn", "gru"]
    assert main([*words, *SMALL, "--n-envs", "2", "--seeds", "1", "--jobs", "2"]) == 0
    assert len(list(module.glob("runs/Corridor-v0/*/seed_0/result.json"))) == 2


def test_points_are_those_that_the_wrapper_gives(module: Path) -> None:
    found = []
    for wrapper in ([], ["--wrapper", "corridor:Twice"], ["--wrapper", "corridor:Twice"] * 2):
        words = ["train", "Corridor-v0", "--import", "corridor", "--root", f"r{len(wrapper)}", *wrapper]
        assert main([*words, *SMALL, "--learning-rate", "1e-9"]) == 0
        folder = Path(f"r{len(wrapper)}/Corridor-v0/plastic/seed_0")
        found.append(json.loads((folder / "result.json").read_text())["evaluation"]["mean_reward"])
    assert found[0] > 0
    assert found == [found[0], 2 * found[0], 4 * found[0]]


def means_in(folder: Path) -> Any:
    """The running moments of the observations in a run's newest checkpoint."""
    parts = RecurrentA2C.file_format.load(max((folder / "checkpoints").iterdir()))
    return parts["env"]["means"]["observation "]


def test_a_run_is_evaluated_with_the_moments_of_its_training(module: Path) -> None:
    words = ["train", "Corridor-v0", "--import", "corridor", "--normalize", *SMALL]
    assert main(words) == 0
    folder = module / "runs" / "Corridor-v0" / "plastic" / "seed_0"
    run, checkpoint = read_run(folder), max((folder / "checkpoints").iterdir())
    with closing(make_envs(run, 1, 0)) as env:
        agent = load_learner(run, checkpoint, env, "cpu")
        mean, _, count = means_in(folder)
        with closing(make_test_envs(agent, run, 2, 0)) as test:
            normalized = unwrap_vec_normalize(test)
            assert normalized is not None
            assert not normalized.norm_reward
            test.reset()
            test.step(np.array([1, 1]))
            assert normalized.obs_rms.count == count
            assert np.array_equal(normalized.obs_rms.mean, mean)


def test_running_moments_are_saved_and_resumed(module: Path) -> None:
    words = ["train", "Corridor-v0", "--import", "corridor", "--normalize", *SMALL]
    assert main([*words, "--root", "whole"]) == 0
    stopped([*words, "--root", "parts"], at=160)
    folders = [Path(root, "Corridor-v0", "plastic", "seed_0") for root in ("whole", "parts")]
    with pytest.warns(UserWarning, match="Corridor cannot save its state"):
        assert main(["train", "--resume", str(folders[1]), "--threads", "1", "--quiet"]) == 0
    counts = [means_in(folder)[2] for folder in folders]
    resets = 4  # the observations of each environment's first reset, one more where new episodes begin
    assert counts == pytest.approx([240 + resets, 240 + 2 * resets], abs=0.01)
    assert [np.shape(means_in(folder)[0]) for folder in folders] == [(1,), (1,)]


def stopped(words: list[str], at: int) -> None:
    """Train until ``at`` steps, then fail."""

    def stop(told: Report) -> None:
        if told.done >= at:
            raise RuntimeError("stopped here")

    command: Any = parse(words)
    with pytest.raises(RuntimeError, match="stopped here"):
        train(command.make_run(command.core, command.seed), command.output, stop)


def rows_of(folder: Path) -> list[list[str]]:
    """The rows of ``progress.csv`` without its times."""
    with (folder / "progress.csv").open(newline="") as file:
        return [
            [value for name, value in row.items() if not name.startswith("time/") or name == tags.TIMESTEPS]
            for row in csv.DictReader(file)
        ]


@pytest.mark.parametrize("options", [[], ["--normalize", "--frame-stack", "2"]], ids=" ".join)
def test_an_environment_that_saves_its_state_is_resumed_to_the_same_bits(
    options: list[str], module: Path
) -> None:
    words = ["train", "PlasticMaze-v0", "--env-kwargs", "size=5", "episode_length=20", *options, *SMALL]
    assert main([*words, "--root", "whole"]) == 0
    stopped([*words, "--root", "parts"], at=160)
    folders = [module / root / "PlasticMaze-v0" / "plastic" / "seed_0" for root in ("whole", "parts")]
    assert main(["train", "--resume", str(folders[1]), "--threads", "1", "--quiet"]) == 0
    assert rows_of(folders[0]) == rows_of(folders[1])
    results = [json.loads((folder / "result.json").read_text())["evaluation"] for folder in folders]
    assert results[0] == results[1]


def test_another_environment_is_resumed_in_new_episodes_with_one_warning(
    module: Path, recwarn: pytest.WarningsRecorder
) -> None:
    words = ["train", "Corridor-v0", "--import", "corridor", *SMALL]
    stopped(words, at=160)
    sys.modules.pop("corridor")  # as in a new process, to which only config.json tells the module
    del gym.registry["Corridor-v0"], gym.registry["own/Corridor-v0"]
    folder = Path("runs/Corridor-v0/plastic/seed_0")
    with pytest.warns(UserWarning, match="resumes in new episodes, .* Corridor cannot save its state"):
        assert main(["train", "--resume", str(folder), "--threads", "1", "--quiet"]) == 0
    assert json.loads((folder / "result.json").read_text())["steps"] == 240
    assert read_run(folder).env.imports == ("corridor",)


@pytest.mark.parametrize("command", [["compare", "--jobs", "1"], ["sweep", "--local"]], ids=" ".join)
def test_cores_are_compared_in_points(
    command: list[str], module: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name, *options = command
    words = [name, "Corridor-v0", *options, "--import", "corridor", "--cores", "rnn", "lstm", "--seeds", "2"]
    assert main([*words, *SMALL, "--algo", "ppo"]) == 0
    shown = capsys.readouterr().out
    assert "Corridor-v0, PPO after 240 steps" in shown
    assert "points per episode" in shown
    assert "share" not in shown
    folder = module / "runs" / "Corridor-v0_ppo"
    compared = json.loads((folder / "comparison.json").read_text())
    for core in ("rnn", "lstm"):
        scores = compared["cores"][core]["mean_reward"]
        results = [json.loads((folder / core / f"seed_{k}" / "result.json").read_text()) for k in (0, 1)]
        assert scores["scores"] == [result["evaluation"]["mean_reward"] for result in results]
        assert scores["low"] <= scores["middle"] <= scores["high"]
    assert (folder / "learning_curves.png").is_file()
    assert main([*words, *SMALL, "--algo", "ppo"]) == 0, "finished runs are kept"


BROKEN = {
    "no_torch_ever": "import no_module_of_that_name",
    "fails": "1 / 0",
    "odd": """
import gymnasium as gym, numpy as np
from gymnasium import spaces
class Env(gym.Env):
    action_space = spaces.Discrete(2)
    def __init__(self, kind):
        self.observation_space = {
            "tuple": spaces.Tuple([spaces.Discrete(2), spaces.Discrete(3)]),
            "text": spaces.Dict(a=spaces.Text(3), b=spaces.Discrete(2)),
        }.get(kind, spaces.Discrete(2))
        if kind == "actions":
            self.action_space = spaces.Box(-np.inf, np.inf, (2,), np.float32)
        if kind == "package":
            import no_module_of_that_name
gym.register("Odd-v0", Env)
""",
}
ODD = ["train", "Odd-v0", "--import", "odd", "--env-kwargs"]
WRONG = [
    (["train", "CartPole"], "there is no task CartPole; perhaps you meant CartPole-v1; there are maze,"),
    (["train", "CartPol-v1", "--import", "json"], "perhaps you meant CartPole-v1 or"),
    (["train", "ALE/Pong-v5"], "ALE is the namespace of a package: install it and give the module"),
    (["compare", "nowhere/Env-v0"], "no environment nowhere/Env-v0 is registered: nowhere is the namespace"),
    (["train", "json:Env-v0"], "no environment Env-v0 is registered"),
    (["train", "CartPole-v1", "--import", "no_such"], "--import no_such: there is no module no_such: give"),
    (["train", "CartPole-v1", "--import", "odd.py"], "there is no module odd.py: give the name of"),
    (["train", "CartPole-v1", "--import", "fails"], "--import fails: it fails: division by zero"),
    (["train", "CartPole-v1", "--import", ""], "it fails: Empty module name"),
    (["train", "CartPole-v1", "--import", "no_torch_ever"], "pip install no_module_of_that_name"),
    (["train", "CartPole-v1", "--env-kwargs", "color=3"], "refuses its arguments: "),
    (["sweep", "CartPole-v1", "--local", "--env-kwargs", "color=3"], "unexpected keyword argument 'color'"),
    (["train", "CartPole-v1", "--env-kwargs", "color"], "write name=value, not 'color'"),
    (["train", "CartPole-v1", "--env-kwargs", "a=1", "a=2"], "a is given twice"),
    (["train", "CartPole-v1", "--env-kwargs", "render_mode=human"], "render_mode is chosen by watch"),
    (["train", "FrozenLake-v1", "--env-kwargs", "map_name=5x5"], "FrozenLake-v1 cannot be made: '5x5'"),
    ([*ODD, "kind=tuple"], "the observation space Tuple is not Box, Discrete, MultiDiscrete or MultiBinary"),
    ([*ODD, "kind=text"], "the observation space Dict holds 'a': Text, which is not Box"),
    ([*ODD, "kind=actions"], "the action space Box must have finite bounds"),
    ([*ODD, "kind=package"], "Odd-v0 needs the module no_module_of_that_name, which is missing: pip install"),
    (["train", "CartPole-v1", "--wrapper", "json"], "--wrapper json: write MODULE:CLASS, such as gymnasium."),
    (["train", "CartPole-v1", "--wrapper", "odd_:X"], "--wrapper odd_: there is no module odd_"),
    (
        ["train", "CartPole-v1", "--wrapper", "gymnasium.wrappers:FlatenObservation"],
        "gymnasium.wrappers has no FlatenObservation: perhaps you meant FlattenObservation",
    ),
    (["train", "CartPole-v1", "--wrapper", "gymnasium.wrappers:TimeLimit"], "takes the environment alone"),
    (["train", "CartPole-v1", "--wrapper", "builtins:str"], "builtins:str makes no environment"),
    (["train", "FrozenLake-v1", "--normalize"], "--normalize: VecNormalize only supports"),
    (["train", "FrozenLake-v1", "--frame-stack", "2"], "--frame-stack: VecFrameStack only works with"),
    (["train", "CartPole-v1", "--frame-stack", "0"], "frame_stack must be at least 1"),
    (["train", "CartPole-v1", "--vec", "threads"], "'dummy', 'subproc'"),
    (["train", "Odd-v0", "--import", "odd"], "missing 1 required positional argument: 'kind'"),
    (["train", "CartPole-v1", "--core", "lstm", "--rule", "oja"], "--rule is for the cores"),
    (["train", "CartPole-v1", "--size", "5"], "train CartPole-v1 has no --size 5"),
    (["train", "CartPole-v1", "--n-envs", "0"], "n_envs must be at least 1"),
    (["train", "CartPole-v1", "--resume", "run"], "leave out CartPole-v1"),
]


@pytest.mark.parametrize(("words", "says"), WRONG, ids=[" ".join(words) for words, _ in WRONG])
def test_wrong_input_is_one_line_and_leaves_nothing(
    words: list[str],
    says: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name, text in BROKEN.items():
        (tmp_path / f"{name}.py").write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    try:
        check_refused(words, says, capsys)
    finally:
        for name in BROKEN:
            sys.modules.pop(name, None)
        gym.registry.pop("Odd-v0", None)
    assert {path.stem for path in tmp_path.iterdir()} == set(BROKEN)


def test_points_of_the_last_episodes_are_the_progress(module: Path) -> None:
    told: list[Report] = []
    command: Any = parse(["train", "Corridor-v0", "--import", "corridor", *SMALL])
    train(command.make_run("plastic", 0), command.output, told.append)
    assert told[-2].value is not None
    assert math.isfinite(told[-2].value)
    assert told[-2].score == f"reward {told[-2].value:8.2f}"
    assert told[-1].score == f"{told[-2].score}  evaluating 6 episodes"


@pytest.mark.parametrize(
    ("place", "named"),
    [
        ("runs/Corridor-v0/rnn/seed_0/evil.py", "runs.Corridor-v0.rnn.seed_0.evil"),
        ("runs/evil.py", "runs.evil"),
        ("runs/__init__.py", "runs"),
    ],
)
@pytest.mark.parametrize("group", ["imports", "wrapper"])
def test_code_in_the_folder_of_a_run_is_refused(
    place: str, named: str, group: str, module: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["train", "Corridor-v0", "--import", "corridor", "--core", "rnn", *SMALL]
    assert main(words) == 0
    folder = module / "runs/Corridor-v0/rnn/seed_0"
    config = json.loads((folder / "config.json").read_text())
    config["env"][group] = [named if group == "imports" else f"{named}:Wrapper"]
    (folder / "config.json").write_text(json.dumps(config))
    (module / place).write_text("raise SystemExit('run')")
    for command in (["evaluate", str(folder)], ["watch", str(folder)], ["train", "--resume", str(folder)]):
        assert main(command) == 2
        assert f"names the module {named}, which lies beside the run" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("env_id", "says"),
    [
        ("Wrong-v0", "Wrong-v0: action_masks of Discrete(2) must be 2 bools for each environment"),
        ("Ending-v0", "an environment Ending-v0 has ended (gone): the same command resumes"),
    ],
)
def test_an_environment_that_fails_in_training_is_named(
    env_id: str, says: str, module: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", env_id, "--import", "corridor", *SMALL]) == 2
    shown = capsys.readouterr().err
    assert says in shown
    assert shown.count("\n") == 1
