"""Gradient descent through whole supervised episodes, with the interface of Stable-Baselines3."""

from __future__ import annotations

from io import BytesIO
from math import inf, isfinite
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from stable_baselines3.common.type_aliases import MaybeCallback, Schedule
from stable_baselines3.common.utils import FloatSchedule, configure_logger, get_device, update_learning_rate
from torch import nn
from typing_extensions import Self, TypeIs

from plasticrl.agents.checkpoint.format import LOOSE, settings_of_a_file
from plasticrl.agents.checkpoint.network import check_as_made
from plasticrl.agents.checkpoint.optimizer import (
    changed_groups,
    check_optimizer_kind,
    restore_trained,
)
from plasticrl.agents.checkpoint.tensor_file import PathOrFile
from plasticrl.agents.checkpoint.tree import plain_rate
from plasticrl.agents.common.distributed import ALONE, Ranks
from plasticrl.agents.supervised import checkpoint
from plasticrl.agents.supervised.callbacks import CallbackSide, ready_callback
from plasticrl.agents.supervised.metrics import (
    EpisodeEvaluation,
    EpisodeStatistics,
    evaluate_predictor,
    updates_within,
)
from plasticrl.agents.supervised.network import EpisodeNetwork, to_tensors
from plasticrl.agents.supervised.networks import NetworkName, make_network
from plasticrl.agents.supervised.update import EpisodeUpdate, LossName, loss_for, predicted
from plasticrl.arguments import check_whole, plain_number, whole_steps, with_home
from plasticrl.envs.supervised.task import Episode, EpisodeTask, check_task
from plasticrl.signals import PostponedInterrupt

_OVER_THE_BATCH = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


class EpisodeLearner(CallbackSide):
    """Learner that trains a network on a task's episodes with Adam; each update is one batch of lifetimes.

    Names and behaviour are SB3's where it has them, with episodes in place of env steps: ``num_timesteps``
    counts episodes, too, for SB3's callbacks. Callbacks are called after every update (``on_step``), and
    around it (``on_rollout_start``, ``on_rollout_end``). ``CheckpointCallback``, ``EveryNTimesteps``,
    ``LogEveryNTimesteps``, ``CallbackList`` and functions work. Callbacks that play in an environment or
    count its episodes raise a TypeError, since there is none: ``EvalCallback`` and its companions,
    ``StopTrainingOnMaxEpisodes``, and ``ProgressBarCallback``.

    All randomness comes from ``seed``: the network's initial parameters, and the generator that draws the
    episodes, whose state is part of a checkpoint. Evaluation uses a separate generator. The same seed
    therefore gives bit-exact results on the same machine, also when training is interrupted and resumed.

    Args:
        network: "plastic", "homogeneous", "rnn" or "lstm" (see
            :func:`plasticrl.agents.supervised.networks.make_network`), or a network.
        task: task to train on.
        learning_rate: learning rate of Adam, or a function of the remaining progress (from 1 at the start
            of ``learn`` to 0). Default 1e-3.
        batch_size: episodes per update. Default 1, as in the paper.
        eval_task: task that :meth:`evaluate` draws from, such as held-out images. Default: ``task``.
        loss: "squared_error" for tasks that complete vectors; "cross_entropy" (default) or
            "binary_cross_entropy" for tasks that predict classes. See
            :func:`plasticrl.agents.supervised.update.episode_loss`.
        max_grad_norm: norm to which the gradient is clipped. Default ``math.inf``: no clipping.
        stats_window_size: episodes over which logged losses and metrics are averaged. Default 100.
        tensorboard_log: folder for TensorBoard. Default: none.
        network_kwargs: arguments of the named network; plain values, such as ``dict(rule="oja")``.
        optimizer_kwargs: arguments of ``torch.optim.Adam`` except the learning rate; plain values.
        verbose: 0 silent, 1 info, 2 debug.
        seed: seed of parameters and episodes, at least 0. Default: a new one each time.
        device: "auto", "cpu", "cuda".

    Attributes:
        network: the network that is trained.
        num_timesteps: number of episodes trained on.

    Raises:
        TypeError: ``task`` or ``eval_task`` is not an ``EpisodeTask``.
        ValueError: an argument is out of range, or ``eval_task`` has other inputs or more classes than
            ``task``; the message names it.
    """

    def __init__(
        self,
        network: NetworkName | EpisodeNetwork,
        task: EpisodeTask,
        learning_rate: float | Schedule = 1e-3,
        batch_size: int = 1,
        eval_task: EpisodeTask | None = None,
        loss: LossName | None = None,
        max_grad_norm: float = inf,
        stats_window_size: int = 100,
        tensorboard_log: str | None = None,
        network_kwargs: dict[str, Any] | None = None,
        optimizer_kwargs: dict[str, Any] | None = None,
        verbose: int = 0,
        seed: int | None = None,
        device: torch.device | str = "auto",
    ) -> None:
        check_task("task", task)
        if eval_task is not None:
            check_task("eval_task", eval_task)
            _check_alike(task, eval_task)
        settings = checkpoint.checked_settings(
            {
                "learning_rate": learning_rate,
                "batch_size": batch_size,
                "max_grad_norm": max_grad_norm,
                "stats_window_size": stats_window_size,
                "verbose": verbose,
                "seed": seed,
            }
        )
        if is_network(network) and network_kwargs:
            raise ValueError("network_kwargs are for a network given by name, but a network object was given")
        self.network_name = None if is_network(network) else network
        self.network_kwargs = checkpoint.plain("network_kwargs", network_kwargs)
        self.optimizer_kwargs = checkpoint.plain("optimizer_kwargs", optimizer_kwargs)
        if "lr" in self.optimizer_kwargs:
            raise ValueError("optimizer_kwargs must not contain lr: give it as learning_rate")
        self.task = task
        self.eval_task = eval_task
        self.learning_rate = settings["learning_rate"]
        self.lr_schedule = FloatSchedule(self.learning_rate)
        self.batch_size: int = settings["batch_size"]
        self.loss = loss_for(loss, task.n_classes)
        self.max_grad_norm: float = settings["max_grad_norm"]
        self.stats_window_size: int = settings["stats_window_size"]
        self.tensorboard_log = with_home(tensorboard_log)
        self.verbose: int = settings["verbose"]
        self.seed: int | None = settings["seed"]
        self.device = get_device(device)
        self.num_timesteps = 0
        self.n_updates = 0
        self.statistics = EpisodeStatistics(updates_within(self.stats_window_size, self.batch_size))
        self.ranks: Ranks = ALONE

        seeds = np.random.SeedSequence(self.seed)
        self.rng = np.random.default_rng(seeds)
        if not is_network(network):
            with torch.random.fork_rng(devices=[]):  # leave torch's global generator unchanged
                torch.default_generator.manual_seed(int(seeds.generate_state(1, np.uint64)[0]))
                network = make_network(task, network, **self.network_kwargs)
        self.network: EpisodeNetwork = network.to(self.device)
        # Fused: one pass over the parameters instead of ten; 5 times faster with two million parameters.
        options = {"fused": True, **self.optimizer_kwargs}
        self.optimizer: torch.optim.Optimizer = torch.optim.Adam(
            self.network.parameters(), lr=self.lr_schedule(1.0), **options
        )

    @property
    def num_episodes(self) -> int:
        """Number of episodes trained on."""
        return self.num_timesteps

    def join(self, ranks: Ranks) -> Self:
        """Train with other processes from now on; all of them must call it with the same learner.

        Each process trains on its share of every batch; the updates are those of a single process with the
        whole batch. Each process has its own callbacks and logs. Every process holds the complete learner
        at any time, so :meth:`save` works as with one process.

        Args:
            ranks: the processes. With a single one, nothing changes.

        Raises:
            ValueError: the learners differ, a batch cannot be shared evenly, or the network normalizes over
                the batch.
        """
        ranks.share(self.batch_size)
        if ranks.size > 1:
            if any(isinstance(part, _OVER_THE_BATCH) for part in self.network.modules()):
                raise ValueError(
                    "a network with batch normalization trains in one process: its moments are those of the "
                    "whole batch"
                )
            content = BytesIO()
            self.save(content)
            ranks.check_alike(content.getvalue())
        self.ranks = ranks
        return self

    def leave(self) -> Self:
        """Continue as a single process."""
        self.ranks = ALONE
        return self

    def learn(
        self,
        total_episodes: int,
        callback: MaybeCallback = None,
        log_interval: int = 100,
        tb_log_name: str = "EpisodeLearner",
        reset_num_episodes: bool = True,
        progress_bar: bool = False,
    ) -> Self:
        """Train on at least ``total_episodes`` episodes, in whole batches.

        On Ctrl-C or SIGTERM, the current update is completed first; the learner can then be saved and
        resumed.

        Args:
            total_episodes: number of episodes, in addition to earlier ones if ``reset_num_episodes`` is
                False. A float such as 1e3 is accepted.
            callback: as in SB3; training ends if ``on_step`` returns False.
            log_interval: updates between two log entries. Default 100.
            tb_log_name: name of the run in TensorBoard.
            reset_num_episodes: count episodes from 0 again. False continues the count of the last call.
            progress_bar: show a progress bar.

        Raises:
            StoppedBetweenUpdates: a KeyboardInterrupt, raised after the update and the callbacks'
                ``on_training_end``.
            NonFiniteError: a loss or a gradient is NaN or infinite; the parameters are still those of
                the previous update.
            ValueError: a number is not above 0.
        """
        total_episodes = whole_steps("total_episodes", total_episodes)
        if not total_episodes:
            raise ValueError("total_episodes must be above 0")
        log_interval = check_whole("log_interval", log_interval, least=1)
        if reset_num_episodes:
            self.num_timesteps = 0
            self.statistics.clear()
        total_timesteps = self.num_timesteps + total_episodes  # the name that SB3's callbacks use
        if not self._custom_logger:
            self._logger = configure_logger(
                self.verbose, self.tensorboard_log, tb_log_name, reset_num_episodes
            )
        callback = ready_callback(callback, self, progress_bar)
        update, own = EpisodeUpdate(self), self.ranks.share(self.batch_size)
        callback.on_training_start(locals(), globals())
        with self._logging(update), PostponedInterrupt() as interrupt:
            while self.num_timesteps < total_timesteps:
                if self.ranks.any(interrupt.pending):
                    interrupt.pending = True
                    break
                callback.on_rollout_start()
                update_learning_rate(
                    self.optimizer, self.lr_schedule(1 - self.num_timesteps / total_timesteps)
                )
                # Every process draws all episodes, so that the generator stays the same on each.
                update.run(self.task.sample(self.batch_size, self.rng).rows(own))
                if self.n_updates % log_interval == 0:  # before the callback: it may save a checkpoint
                    self.dump_logs()
                callback.update_locals(locals())
                if not callback.on_step():
                    break
                callback.on_rollout_end()
            callback.on_training_end()
        return self

    def predict(self, episode: Episode) -> NDArray[Any]:
        """Return the network's prediction at the last judged step of each episode.

        Args:
            episode: B episodes; their targets are not used.

        Returns:
            Vectors ``(B, D)`` float32 for tasks that complete vectors, or classes ``(B,)`` int64.
        """
        self.network.eval()
        tensors = to_tensors(episode, self.device)
        with torch.no_grad():
            outputs, _ = self.network(tensors)
            return predicted(outputs, tensors, self.task.n_classes).cpu().numpy()

    def evaluate(
        self,
        n_episodes: int = 1000,
        task: EpisodeTask | None = None,
        seed: int = 0,
        batch_size: int = 32,
    ) -> EpisodeEvaluation:
        """Compute metrics over new episodes, without gradient; training is not affected.

        Args:
            n_episodes: number of episodes. Default 1,000.
            task: task to draw from. Default: ``eval_task``, or else the training task. If that task has a
                ``pool``, the episodes of a batch share pictures, and the confidence intervals are too narrow.
            seed: seed of these episodes.
            batch_size: number of episodes run side by side. Default 32.

        Raises:
            ValueError: as :func:`plasticrl.agents.supervised.metrics.evaluate_predictor`.
        """
        return evaluate_predictor(
            self.predict, task or self.eval_task or self.task, n_episodes, seed=seed, batch_size=batch_size
        )

    def save(self, path: PathOrFile) -> None:
        """Write a checkpoint: parameters, Adam's state, counters and the generator's state.

        The content is checked as by :meth:`load` before anything is written.

        Args:
            path: path of the file, or a binary file object, whose content is replaced. ``.safetensors`` is
                added to a path without suffix, ``~`` is the home folder, and the parent folder is created.
                The file is written atomically.

        Raises:
            OSError: the file cannot be written.
            TypeError: ``path`` is neither a path nor a binary file object.
            ValueError: :meth:`load` would refuse the file; the message says why.
        """
        check_optimizer_kind(self.optimizer, torch.optim.Adam, checkpoint.ONLY_ADAM)
        if type(self.rng.bit_generator) is not np.random.PCG64:
            raise ValueError(f"rng must be a generator of np.random.default_rng(), not {self.rng}")
        checkpoint.FORMAT.save(path, self._parts(), self._check_loads)

    def _parts(self) -> dict[str, Any]:
        """Return the parts of the learner's checkpoint.

        Raises:
            ValueError: a setting was changed to a value that the constructor refuses; the message names it.
        """
        settings = checkpoint.checked_settings(
            {name: plain_number(getattr(self, name)) for name in checkpoint.CHECKED}
        )
        kwargs = self.network_kwargs
        if self.network_name:
            kwargs = checkpoint.current_kwargs(self.network, kwargs)
        return {
            LOOSE: checkpoint.loose_tensors(self.network, self.optimizer, self.statistics.values),
            "task": checkpoint.sizes(self.task),
            "settings": {
                **settings,
                "network": self.network_name,
                "learning_rate": plain_rate(settings["learning_rate"]),
                "max_grad_norm": settings["max_grad_norm"] if isfinite(settings["max_grad_norm"]) else None,
                "loss": loss_for(self.loss, self.task.n_classes),
                "network_kwargs": checkpoint.plain("network_kwargs", kwargs),
                "optimizer_kwargs": checkpoint.plain("optimizer_kwargs", self.optimizer_kwargs),
            },
            "num_episodes": check_whole("num_timesteps", self.num_timesteps, least=0),
            "n_updates": check_whole("n_updates", self.n_updates, least=0),
            "statistics": list(self.statistics.names),
            "generator": self.rng.bit_generator.state,
            **changed_groups(self.network, self.optimizer),
        }

    def _check_loads(self, parts: dict[str, Any]) -> None:
        """Check that :meth:`load` accepts these parts, given the settings that a file cannot hold.

        Raises:
            ValueError: it would refuse them; the message says why.
        """
        given: dict[str, Any] = {} if self.network_name else {"network": self.network}
        if parts["settings"]["learning_rate"] is None:
            given["learning_rate"] = self.learning_rate
        settings = checkpoint.loaded_settings(parts, self.task, given)
        checkpoint.checked_settings(settings)
        network: torch.nn.Module = self.network
        if self.network_name:
            network = checkpoint.network_without_memory(settings, self.task)
            check_as_made("network", self.network, network)
        checkpoint.saved_parts(parts, network, self.optimizer)

    @classmethod
    def load(
        cls,
        path: PathOrFile,
        task: EpisodeTask,
        eval_task: EpisodeTask | None = None,
        device: torch.device | str = "auto",
        **kwargs: Any,
    ) -> Self:
        """Return a learner that resumes where the saved one stopped; no code from the file is run.

        Args:
            path: as in :meth:`save`; ``PATH``, ``PATH.safetensors`` and ``PATH.zip`` are interchangeable
                if only one of them exists. A file object is read from its start.
            task: as in the constructor; its inputs and classes must match those of the saved learner.
            eval_task: as in the constructor.
            device: as in the constructor.
            **kwargs: further arguments of the constructor, which replace the saved ones. ``network`` must
                be given if the saved learner was built with a network object instead of a name, and
                ``learning_rate`` if it was a function other than SB3's schedules. Unlike in SB3,
                ``tensorboard_log`` is None unless given: a file never decides where to write.

        Raises:
            OSError: the file cannot be read.
            TensorFileError: it is damaged, or not the file of a learner.
            TypeError: ``task`` is not an ``EpisodeTask``.
            ValueError: it does not fit the task or the network, or a value that it cannot hold is not given.
        """
        check_task("task", task)
        parts = checkpoint.FORMAT.load(path)
        settings = checkpoint.loaded_settings(parts, task, kwargs)
        with settings_of_a_file():
            checkpoint.check_sizes(settings, task, parts)
            learner = cls(task=task, eval_task=eval_task, device=device, **settings)
        keep = "optimizer_kwargs" in kwargs
        saved = checkpoint.saved_parts(parts, learner.network, learner.optimizer, keep_options=keep)
        restore_trained(learner.network, learner.optimizer, saved.trained, keep_options=keep)
        names, values = saved.statistics
        learner.statistics.restore(names, values.to(learner.device))
        learner.num_timesteps, learner.n_updates = saved.num_episodes, saved.n_updates
        learner.rng.bit_generator.state = saved.generator
        return learner


def is_network(network: Any) -> TypeIs[EpisodeNetwork]:
    """Return True for a network, also one wrapped by ``torch.compile``, and False for a network's name."""
    return isinstance(getattr(network, "_orig_mod", network), EpisodeNetwork)


def _check_alike(task: EpisodeTask, eval_task: EpisodeTask) -> None:
    if task.input_shape != eval_task.input_shape:
        raise ValueError(
            f"eval_task must have the input_shape of task, {task.input_shape}, not {eval_task.input_shape}"
        )
    most, classes = task.n_classes, eval_task.n_classes
    if most is None or classes is None:
        if most != classes:
            raise ValueError("eval_task must have classes if task has any, and none if it has none")
    elif classes > most:  # fewer are welcome: the others are then no answers
        raise ValueError(f"eval_task must have at most the {most} classes of task, not {classes}")
