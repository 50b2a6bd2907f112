"""Processes that train one learner together, started quickly: the libraries are imported only once."""

import multiprocessing
import signal
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import maze_settings
import numpy as np
import torch
import torch.distributed as dist

from plasticrl.agents import EpisodeLearner, RecurrentA2C, RecurrentPPO
from plasticrl.agents.common.distributed import Ranks
from plasticrl.agents.common.finite_checks import NonFiniteError
from plasticrl.agents.recurrent.normalization import Moments
from plasticrl.agents.recurrent.on_policy_algorithm import RecurrentOnPolicyAlgorithm
from plasticrl.envs import make_task, make_vec_env
from plasticrl.envs.maze.env import PlasticMazeVectorEnv
from plasticrl.envs.supervised.one_shot import OneShotTask
from plasticrl.signals import StoppedBetweenUpdates

SEED, LENGTH = 3, 10
UPDATES = 5
_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["plasticrl.agents", "plasticrl.ops.numba.engine"])


def mazes(n_envs: int = 4) -> Any:
    return make_vec_env("PlasticMaze-v0", n_envs=n_envs, seed=SEED, size=5, episode_length=LENGTH)


def agent(core: str = "plastic", policy: Any = maze_settings.POLICY, **options: Any) -> RecurrentA2C:
    """A learner whose rollouts are played in a compiled loop, unless the core or the policy forbids it."""
    return RecurrentA2C(
        "PlasticPolicy",
        mazes(),
        policy_kwargs={"core": core, "hidden_size": 6, **policy},
        **{**maze_settings.AGENT, "n_steps": LENGTH, "seed": SEED, "device": "cpu", **options},
    )


def normalizing_agent(core: str = "plastic") -> RecurrentA2C:
    """A learner with the defaults, which normalizes observations, returns and advantages."""
    return RecurrentA2C(
        "PlasticPolicy",
        mazes(),
        n_steps=LENGTH,
        policy_kwargs={"core": core, "hidden_size": 6},
        seed=SEED,
        device="cpu",
    )


def ppo(core: str = "plastic", policy: Any = maze_settings.POLICY, **options: Any) -> RecurrentPPO:
    """A learner whose minibatches are drawn from the environments of all processes."""
    return RecurrentPPO(
        "PlasticPolicy",
        mazes(),
        n_steps=LENGTH,
        policy_kwargs={"core": core, "hidden_size": 6, **policy},
        seed=SEED,
        device="cpu",
        **{"n_epochs": 3, **options},
    )


def patterns() -> Any:
    return make_task("patterns", n_bits=8, n_patterns=2, n_cycles=1)


def learner(task: Any, **options: Any) -> EpisodeLearner:
    return EpisodeLearner("plastic", task, batch_size=4, seed=SEED, device="cpu", **options)


def one_shot() -> Any:
    images = np.random.default_rng(0).integers(0, 256, (12, 3, 31, 31), dtype=np.uint8)
    return OneShotTask(images, n_way=3, pool=6)


LEARNERS: dict[str, Callable[[], Any]] = {
    "maze": agent,
    "maze, half episodes": lambda: agent(n_steps=LENGTH // 2),
    "maze, lstm": lambda: agent("lstm"),
    "maze, normalized advantages": lambda: agent(normalize_advantage=True),
    "maze, all normalized": normalizing_agent,
    "maze, all normalized, lstm": lambda: normalizing_agent("lstm"),
    "ppo": ppo,
    "ppo, all normalized": lambda: ppo(policy={}, batch_size=2 * LENGTH),
    "ppo, lstm, early stop": lambda: ppo("lstm", n_epochs=9, target_kl=1e-4, normalize_advantage=False),
    "patterns": lambda: learner(patterns(), max_grad_norm=0.1),
    "one-shot": lambda: learner(one_shot(), network_kwargs={"n_filters": 2}),
}


def batch(one: Any) -> int:
    """Steps or episodes of an update, of all processes."""
    return (
        one.ranks.size * one.n_envs * one.n_steps
        if isinstance(one, RecurrentOnPolicyAlgorithm)
        else one.batch_size
    )


def run_together(work: Callable[[Ranks, Path], None], folder: Path, size: int = 2) -> None:
    """Call ``work(ranks, folder)`` in processes of one group; it must be of a helper module.

    Raises:
        AssertionError: one of them failed, or did not end.
    """
    processes = [_CONTEXT.Process(target=_work, args=(work, rank, size, folder)) for rank in range(size)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
        process.kill()
    assert [process.exitcode for process in processes] == [0] * size


def _work(work: Callable[[Ranks, Path], None], rank: int, size: int, folder: Path) -> None:
    torch.set_num_threads(1)
    store = f"file://{folder}/group"
    dist.init_process_group("gloo", store, timedelta(seconds=30), world_size=size, rank=rank)
    work(Ranks.of_group(), folder)
    dist.destroy_process_group()


def train(one: Any, updates: int, callback: Any = None) -> None:
    """Train from where it is."""
    is_agent = isinstance(one, RecurrentOnPolicyAlgorithm)
    goes_on = {"reset_num_timesteps" if is_agent else "reset_num_episodes": False}
    one.learn(updates * batch(one), callback, **goes_on)


def train_all(ranks: Ranks, folder: Path) -> None:
    """Train each learner, and save all of it on every process."""
    for kind, make in LEARNERS.items():
        one = make().join(ranks)
        train(one, UPDATES)
        one.leave().save(folder / f"{kind}_{ranks.rank}")


def all_but_one(mazes: PlasticMazeVectorEnv) -> Any:
    """Masks that forbid one action in each maze, another one for each square and step."""
    masks = np.ones((mazes.num_envs, 4), dtype=np.bool_)
    masks[np.arange(mazes.num_envs), (mazes.state.square + mazes.state.step) % 4] = False
    return masks


def masked_agent() -> RecurrentPPO:
    """A learner in mazes that have masks, if their class was given them."""
    return ppo(policy={}, batch_size=2 * LENGTH, ent_coef=0.1)


def train_masked(ranks: Ranks, folder: Path) -> None:
    """Train in mazes with masks; only this process's mazes have them."""
    PlasticMazeVectorEnv.action_masks = all_but_one  # type: ignore[attr-defined]
    one = masked_agent().join(ranks)
    train(one, UPDATES)
    assert one.rollout_buffer.action_masks is not None
    one.leave().save(folder / f"masked_{ranks.rank}")


def go_on(ranks: Ranks, folder: Path) -> None:
    """Go on with what one process saved."""
    for kind, load in LOADS.items():
        one = load(folder / kind).join(ranks)
        train(one, UPDATES - 2)
        one.leave().save(folder / f"{kind}_{ranks.rank}")


LOADS: dict[str, Callable[[Path], Any]] = {
    "maze": lambda path: RecurrentA2C.load(path, mazes(), "cpu"),
    "maze, all normalized": lambda path: RecurrentA2C.load(path, mazes(), "cpu"),
    "ppo": lambda path: RecurrentPPO.load(path, mazes(), "cpu"),
    "patterns": lambda path: EpisodeLearner.load(path, patterns(), device="cpu"),
}


def rounds() -> list[Any]:
    """Values of four rounds, for any number of processes up to 2, ``(N, 2)``, with different moments."""
    rng = np.random.default_rng(SEED)
    return [rng.normal(50 * k, 1 + k, (2 * (3 + k), 2)) for k in range(4)]


def measure(ranks: Ranks, folder: Path) -> None:
    """Write mean and variance of the values of all processes, of which each has its share."""
    moments = Moments((2,))
    for values in rounds():
        moments.update(values[ranks.share(len(values))], ranks)
    np.save(folder / f"moments_{ranks.rank}.npy", torch.stack([moments.mean, moments.variance]).numpy())


def talk(ranks: Ranks, folder: Path) -> None:
    """Everything that can be told, once."""
    me = ranks.rank
    weight, unused = torch.nn.Parameter(torch.zeros(2, 3)), torch.nn.Parameter(torch.zeros(1))
    weight.grad = torch.full((3, 2), float(me)).T  # not contiguous
    assert ranks.average([weight, unused], torch.tensor(4.0 * me)) == (torch.tensor(2.0),)
    assert (weight.grad == 0.5).all()
    assert unused.grad is None
    assert ranks.means({"a": 2.0 * me, "b": 1.0}) == {"a": 1.0, "b": 1.0}
    assert ranks.any(me == 1)
    assert not ranks.any(False)
    assert ranks.broadcast(7 + me) == 7
    assert ranks.gather(np.full((2, 1), me), axis=1).tolist() == [[0, 1], [0, 1]]
    assert ranks.gather_bytes(b"x" * 5 * me) == [b"", b"xxxxx"]
    assert ranks.gather_bytes(b"") == [b"", b""]
    ranks.check_alike(b"same")


def refuse_others(ranks: Ranks, folder: Path) -> None:
    """Join with a learner that is not the other process's."""
    one = learner(patterns())
    one.rng = np.random.default_rng(ranks.rank)
    try:
        one.join(ranks)
    except ValueError as error:
        (folder / f"said_{ranks.rank}").write_text(str(error))


def stop_one(ranks: Ranks, folder: Path) -> None:
    """Signal the second process only, once, in the midst of its second update."""
    signalled = set[Any]()

    def stop(known: dict[str, Any], _: Any) -> bool:
        one = known["self"]
        if ranks.rank == 1 and one.num_timesteps > batch(one) and one not in signalled:
            signalled.add(one)
            signal.raise_signal(signal.SIGTERM)
        return True

    for kind in LOADS:
        one = LEARNERS[kind]().join(ranks)
        try:
            train(one, UPDATES, stop)
        except StoppedBetweenUpdates:
            one.leave().save(folder / f"{kind}_{ranks.rank}")


class _Spoilt(type(patterns())):  # type: ignore[misc]
    def sample(self, batch_size: int, rng: np.random.Generator) -> Any:
        episode = super().sample(batch_size, rng)
        episode.inputs[:, -1] = np.nan  # of the last process
        return episode


def go_wrong(ranks: Ranks, folder: Path) -> None:
    """Something is not finite in the second process only."""
    one, other = agent(n_steps=LENGTH // 2).join(ranks), learner(patterns()).join(ranks)
    train(one, 1)
    if ranks.rank == 1:
        one._state.trace[0, 0, 0] = np.nan
    other.task.__class__ = _Spoilt
    for spoilt in (one, other):
        parameters = (spoilt.policy if spoilt is one else spoilt.network).state_dict()
        before = {name: tensor.clone() for name, tensor in parameters.items()}
        try:
            train(spoilt, 1)
        except NonFiniteError as error:
            with (folder / f"said_{ranks.rank}").open("a") as file:
                file.write(f"{error}\n")
        assert all((parameters[name] == tensor).all() for name, tensor in before.items())
