"""Actor and critic on a recurrent core."""

import os
from difflib import get_close_matches
from inspect import signature
from io import BufferedIOBase
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from gymnasium import spaces
from stable_baselines3.common.distributions import (
    CategoricalDistribution,
    DiagGaussianDistribution,
    Distribution,
    make_proba_distribution,
)
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.preprocessing import preprocess_obs
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.common.type_aliases import Schedule
from stable_baselines3.common.utils import get_device, obs_as_tensor
from torch import Tensor, nn
from typing_extensions import Never, Self

from plasticrl.agents.checkpoint.optimizer import check_alike
from plasticrl.agents.checkpoint.spaces import plain_space, space_from_plain
from plasticrl.agents.checkpoint.tensor_file import (
    TensorFileError,
    check_format,
    place_to_read,
    place_to_write,
    read_tensors,
    write_tensors,
)
from plasticrl.agents.checkpoint.tree import Absent, decode, encode, held
from plasticrl.agents.common.feature_extractors import default_extractor
from plasticrl.agents.recurrent.rollout import ObservationTensor
from plasticrl.agents.recurrent.spaces import (
    actions_from_env,
    actions_to_env,
    batched,
    check_spaces,
    chosen_space,
    seen,
    seen_space,
    to_numpy,
)
from plasticrl.nn import Init
from plasticrl.nn.factory import CoreName, make_core
from plasticrl.ops import Backend
from plasticrl.rules import RuleLike

FORMAT, VERSION = "plasticrl.PlasticPolicy", 1
_SPACES = ("observation_space", "action_space")
_NO_GSDE = "there is no state-dependent exploration (gSDE): leave it out"
_ONE_CORE = "actor and critic share one core: leave it out"
# Arguments of SB3's and sb3-contrib's policies that this one has not.
_ELSEWHERE = {
    "net_arch": "the core is the only layer: set hidden_size, or a features_extractor_class before it",
    "activation_fn": "the activation belongs to the core: choose core",
    "use_sde": _NO_GSDE,
    "full_std": _NO_GSDE,
    "use_expln": _NO_GSDE,
    "squash_output": "actions are clipped, not squashed: leave it out",
    "share_features_extractor": "actor and critic share the features extractor: leave it out",
    "features_extractor": "give features_extractor_class",
    "lstm_hidden_size": "write hidden_size, with core='lstm'",
    "n_lstm_layers": "a core has one layer: leave it out",
    "shared_lstm": _ONE_CORE,
    "enable_critic_lstm": _ONE_CORE,
    "lstm_kwargs": "the options of core='lstm' are hidden_size alone: leave it out",
}


class PlasticPolicy(BasePolicy):
    """Features, a recurrent core, and two linear heads on it: the policy and the value.

    Args:
        observation_space: Box, Discrete, MultiDiscrete, MultiBinary or Dict of these.
        action_space: Discrete, MultiDiscrete, MultiBinary or Box, with finite bounds. Actions of a Box are
            clipped to it, as in SB3; of integers, they are rounded, too.
        lr_schedule: learning rate as a function of the remaining progress, from 1 to 0.
        core: ``"plastic"`` (default), ``"homogeneous"``, ``"rnn"``, ``"lstm"``, ``"gru"`` or
            ``"feedforward"``; see :func:`plasticrl.agents.make_core`.
        hidden_size: neurons of the core. Default 200, as in the paper's maze.
        rule: how the trace changes; like the next five, see :class:`plasticrl.PlasticRNN`, whose
            defaults hold where None is given. Plastic cores only.
        eta: initial learning rate of the trace.
        bound_eta: keep eta in (0, 1).
        init: distribution of the initial w and alpha.
        init_scale: its scale.
        backend: what computes the recurrence, see :func:`plasticrl.plastic_scan`.
        ortho_init: orthogonal initial weights for features and heads, as in SB3. Default True.
        log_std_init: initial logarithm of the standard deviation, for Box actions. Default 0.
        features_extractor_class: default by observation: NatureCNN for images, CombinedExtractor
            for dicts, else FlattenExtractor; see ``feature_extractors.py`` for small images and odd keys.
        features_extractor_kwargs: its arguments.
        normalize_images: divide images by 255. Default True.
        optimizer_class: default Adam.
        optimizer_kwargs: beside the learning rate. Default ``eps=1e-4`` for Adam, as in the paper.

    Raises:
        ValueError: a space that it cannot take, an unknown core or rule, an option that the core does not
            have, or an argument that there is not.
    """

    def __init__(
        self,
        observation_space: spaces.Space[Any],
        action_space: spaces.Space[Any],
        lr_schedule: Schedule,
        core: CoreName = "plastic",
        hidden_size: int = 200,
        rule: RuleLike | None = None,
        eta: float | None = None,
        bound_eta: bool | None = None,
        init: Init | None = None,
        init_scale: float | None = None,
        backend: Backend | None = None,
        ortho_init: bool = True,
        log_std_init: float = 0.0,
        features_extractor_class: type[BaseFeaturesExtractor] | None = None,
        features_extractor_kwargs: dict[str, Any] | None = None,
        normalize_images: bool = True,
        optimizer_class: type[torch.optim.Optimizer] = torch.optim.Adam,
        optimizer_kwargs: dict[str, Any] | None = None,
        **unknown: Never,
    ) -> None:
        if unknown:
            raise ValueError(_no_argument(next(iter(unknown))))
        check_spaces(observation_space, action_space)
        if optimizer_kwargs is None:
            optimizer_kwargs = {"eps": 1e-4} if optimizer_class is torch.optim.Adam else {}
        super().__init__(
            observation_space,
            action_space,
            features_extractor_class or default_extractor(observation_space, normalize_images),
            dict(features_extractor_kwargs or {}),  # SB3 adds to it
            normalize_images=normalize_images,
            optimizer_class=optimizer_class,
            optimizer_kwargs=optimizer_kwargs,
        )
        options = {
            "rule": rule,
            "eta": eta,
            "bound_eta": bound_eta,
            "init": init,
            "init_scale": init_scale,
            "backend": backend,
        }
        given: dict[str, Any] = {name: value for name, value in options.items() if value is not None}
        self.core_kwargs: dict[str, Any] = {"core": core, "hidden_size": hidden_size, **given}
        self.ortho_init = ortho_init
        self.log_std_init = log_std_init
        self._seen_space = seen_space(observation_space)
        try:
            self.features_extractor = self.make_features_extractor()
        except (AssertionError, LookupError, RuntimeError, TypeError) as error:
            kind = getattr(self.features_extractor_class, "__name__", repr(self.features_extractor_class))
            reason = (str(error).splitlines() or [repr(error)])[0]
            raise ValueError(
                f"no {kind} with features_extractor_kwargs={self.features_extractor_kwargs} can be made for "
                f"observations in {self._seen_space} ({reason}): leave out both for one that fits"
            ) from error
        self.core = make_core(core, self.features_extractor.features_dim, hidden_size, **given)
        self.action_dist = make_proba_distribution(chosen_space(action_space))
        latent = self.core.output_size
        self.log_std: nn.Parameter | None = None
        self.action_net: nn.Module
        if isinstance(self.action_dist, DiagGaussianDistribution):
            self.action_net, self.log_std = self.action_dist.proba_distribution_net(latent, log_std_init)
        else:
            self.action_net = self.action_dist.proba_distribution_net(latent)  # type: ignore[assignment]
        self.value_net = nn.Linear(latent, 1)
        if ortho_init:
            for module, gain in (
                (self.features_extractor, 2**0.5),
                (self.action_net, 0.01),
                (self.value_net, 1.0),
            ):
                for layer in module.modules():
                    self.init_weights(layer, gain)
        self.optimizer = optimizer_class(self.parameters(), lr=lr_schedule(1), **optimizer_kwargs)  # type: ignore[call-arg]

    def initial_state(self, batch_size: int) -> Any:
        """The core's state at the start of ``batch_size`` episodes."""
        return self.core.initial_state(batch_size)

    def step_(self, obs: ObservationTensor, state: Any, episode_starts: Tensor) -> Tensor:
        """One step of the core, without gradient; overwrites ``state``.

        Args:
            obs: ``(B, ...)``.
            state: the core's state, changed in place.
            episode_starts: bool ``(B,)``.

        Returns:
            the core's outputs ``(B, hidden_size)``, from which :meth:`distribution` and
            :meth:`values` are read.
        """
        with torch.no_grad():
            return self.core.step_(self._features(obs), state, episode_starts)

    def forward(
        self,
        obs: ObservationTensor,
        state: Any,
        episode_starts: Tensor,
        known: tuple[Tensor, Any] | None = None,
    ) -> tuple[Distribution, Tensor, Any]:
        """Unroll over whole sequences, with gradient.

        Args:
            obs: ``(T * B, ...)``, time first.
            state: the core's state before the first step.
            episode_starts: bool ``(T, B)``.
            known: what :meth:`step_` returned at each step, ``(T, B, hidden_size)``, and the state after
                the last one: spares a plastic core the forward pass. Only for a policy that computes the
                same in training, and has been run with the same parameters, which is not checked.

        Returns:
            distribution of the ``T * B`` actions, values ``(T * B,)``, and the final state.
        """
        steps, batch = episode_starts.shape
        features = self._features(obs).view(steps, batch, -1)
        if known is None:
            latent, state = self.core(features, state, episode_starts)
        else:
            latent, state = self.core.replay(features, state, episode_starts, known)
        latent = latent.flatten(0, 1)
        return self.distribution(latent), self.values(latent), state

    def state_after(self, obs: ObservationTensor, state: Any, episode_starts: Tensor) -> Any:
        """The core's state after whole sequences, without gradient; arguments as for :meth:`forward`."""
        steps, batch = episode_starts.shape
        with torch.no_grad():
            return self.core(self._features(obs).view(steps, batch, -1), state, episode_starts)[1]

    def distribution(self, outputs: Tensor) -> Distribution:
        """Distribution of the actions, given the core's outputs ``(N, hidden_size)``."""
        head = self.action_net(outputs)
        if isinstance(self.action_dist, DiagGaussianDistribution):
            assert self.log_std is not None
            return self.action_dist.proba_distribution(head, self.log_std)
        return self.action_dist.proba_distribution(head)

    def sample(self, outputs: Tensor) -> Tensor:
        """Actions drawn without gradient, given the core's outputs ``(B, hidden_size)``."""
        with torch.no_grad():
            if draws_from_softmax(self):
                # The draw of Categorical.sample(), without building the distribution at every step.
                return torch.multinomial(torch.softmax(self.action_net(outputs), dim=-1), 1).squeeze(-1)
            return self.distribution(outputs).sample()

    def values(self, outputs: Tensor) -> Tensor:
        """Value estimates ``(...)``, given the core's outputs ``(..., hidden_size)``."""
        value: Tensor = self.value_net(outputs)
        return value.squeeze(-1)

    def predict_values(self, obs: ObservationTensor, state: Any, episode_starts: Tensor) -> Tensor:
        """Values of observations, without gradient and without changing the state: for bootstrapping.

        Args:
            obs: ``(B, ...)``, or whole sequences ``(T * B, ...)``, time first.
            state: the core's state before them; None for the start of episodes.
            episode_starts: ``(B,)``, or ``(T, B)``.

        Returns:
            ``(B,)``, or ``(T * B,)``.
        """
        with torch.no_grad():
            values: Tensor = self(obs, *self._whole(state, episode_starts))[1]
        return values

    def evaluate_actions(
        self, obs: ObservationTensor, actions: Tensor, state: Any, episode_starts: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Judge actions that were taken, with gradient; named as in SB3, with the state as in sb3-contrib.

        Args:
            obs: ``(B, ...)``, or whole sequences ``(T * B, ...)``, time first (sb3-contrib has batch first).
            actions: in the action space, as :meth:`predict` returns them, one for each observation; of a
                Box, also beyond its bounds.
            state: the core's state before them, which is not changed; None for the start of episodes.
            episode_starts: ``(B,)``, or ``(T, B)``.

        Returns:
            values, log-probabilities of the actions, and entropies, each with one entry for each observation.
        """
        distribution, values, _ = self(obs, *self._whole(state, episode_starts))
        log_prob: Tensor = distribution.log_prob(actions_from_env(actions, self.action_space))
        return values, log_prob, distribution.entropy()

    def get_distribution(
        self, obs: ObservationTensor, state: Any, episode_starts: Tensor
    ) -> tuple[Distribution, Any]:
        """Distribution of the actions, with gradient, and the state after them; arguments as above.

        It counts the categories of Discrete and MultiDiscrete actions from 0, wherever those start, and has
        the actions of a Box before they are clipped.
        """
        distribution, _, after = self(obs, *self._whole(state, episode_starts))
        return distribution, after

    def reset_noise(self, n_envs: int = 1) -> None:
        """Refuse, as SB3's policies do without state-dependent exploration (gSDE).

        Raises:
            NotImplementedError: always.
        """
        raise NotImplementedError("reset_noise() is for gSDE (use_sde=True), which this policy has not")

    def predict(
        self,
        observation: npt.NDArray[Any] | dict[str, npt.NDArray[Any]],
        state: tuple[npt.NDArray[Any], ...] | None = None,
        episode_start: npt.NDArray[Any] | None = None,
        deterministic: bool = False,
    ) -> tuple[npt.NDArray[Any], tuple[npt.NDArray[Any], ...] | None]:
        """Act, as ``RecurrentPPO.predict`` does; the state given is not changed.

        Args:
            observation: of one environment or of B.
            state: what the last call returned; None at the start.
            episode_start: bool ``(B,)``, true where an episode begins. Default: none does.
            deterministic: the most probable action instead of a draw.

        Returns:
            actions and the new state, a tuple of arrays with B rows.

        Raises:
            ValueError: the observation does not fit the space, or the state or ``episode_start`` another
                number of environments.
        """
        self.set_training_mode(False)
        if isinstance(observation, tuple) and observation and isinstance(observation[-1], (dict, list)):
            raise ValueError(
                "predict() was given a tuple, as env.reset() and env.step() return, and not an observation: "
                "write obs, info = env.reset() for a Gymnasium env, obs = env.reset() for an SB3 VecEnv"
            )
        obs, vectorized = self.obs_to_tensor(observation)
        batch = len(next(iter(obs.values())) if isinstance(obs, dict) else obs)
        current = self._given_state(state, batch)
        starts = np.zeros(batch) if episode_start is None else np.asarray(episode_start)
        if starts.shape not in ((), (batch,)) or starts.dtype.kind not in "biuf":
            raise ValueError(
                f"episode_start must be one bool for each of {batch} environments, not {episode_start!r}"
            )
        with torch.no_grad():
            first = torch.as_tensor(starts.astype(np.bool_), device=self.device).expand(batch)
            outputs = self.step_(obs, current, first)
            chosen = to_numpy(self.distribution(outputs).get_actions(deterministic=deterministic))
        actions = actions_to_env(chosen, self.action_space)
        if not vectorized:
            actions = actions.squeeze(axis=0)
        return actions, tuple(map(to_numpy, current))

    def _given_state(self, state: Any, batch: int) -> Any:
        """A copy of what ``predict`` returned before, as the core's state."""
        fresh = self.initial_state(batch)
        if state is None:
            return fresh
        expected = [tuple(part.shape) for part in fresh]
        advice = f"must have shapes {expected} for {batch} environments"
        if not isinstance(state, (tuple, list)):
            raise ValueError(
                f"state {advice}, as predict returns it, and not be {type(state).__name__}; "
                "pass state=None at the start"
            )
        try:
            parts = [part if isinstance(part, Tensor) else torch.tensor(np.asarray(part)) for part in state]
        except (TypeError, ValueError, RuntimeError) as error:
            raise ValueError(f"state {advice}, as predict returns it, and hold numbers ({error})") from error
        if [tuple(part.shape) for part in parts] != expected:
            raise ValueError(
                f"state {advice}, not {[tuple(part.shape) for part in parts]}; "
                "pass state=None when the number of environments changes"
            )
        return type(fresh)(*(old.to(new, copy=True) for old, new in zip(parts, fresh, strict=True)))

    def _predict(self, observation: Any, deterministic: bool = False) -> Tensor:
        raise NotImplementedError(
            "a recurrent policy needs its state: use predict(observation, state, episode_start)"
        )

    def obs_to_tensor(self, observation: Any) -> tuple[Any, bool]:
        """Tensors ``(N, ...)`` of observations, and True where they are of several environments, as in SB3.

        Raises:
            ValueError: they do not fit the observation space.
        """
        arrays, several = batched(observation, self.observation_space)
        return obs_as_tensor(arrays, self.device), several

    def is_vectorized_observation(self, observation: Any) -> bool:
        """True where observations are of several environments, False where of one.

        Raises:
            ValueError: they do not fit the observation space.
        """
        return batched(observation, self.observation_space)[1]

    def make_features_extractor(self) -> BaseFeaturesExtractor:
        """A features extractor of the class and with the arguments that were given."""
        return self.features_extractor_class(self._seen_space, **self.features_extractor_kwargs)

    def extract_features(
        self, obs: ObservationTensor, features_extractor: BaseFeaturesExtractor | None = None
    ) -> Tensor:
        """Features ``(N, features_dim)`` of observations ``(N, ...)``, by default from the policy's own."""
        prepared = preprocess_obs(
            seen(obs, self.observation_space), self._seen_space, normalize_images=self.normalize_images
        )
        extractor = self.features_extractor if features_extractor is None else features_extractor
        features: Tensor = extractor(prepared)
        return features

    def load_from_vector(self, vector: npt.NDArray[Any]) -> None:
        """Set all parameters from what :meth:`parameters_to_vector` returned.

        Raises:
            ValueError: it has another length.
        """
        values = np.asarray(vector, dtype=np.float32)
        parameters = list(self.parameters())
        sizes = [parameter.numel() for parameter in parameters]
        if values.shape != (sum(sizes),):
            raise ValueError(f"the vector must have shape ({sum(sizes)},), not {values.shape}")
        with torch.no_grad():
            parts = np.split(values, np.cumsum(sizes)[:-1])
            for parameter, part in zip(parameters, parts, strict=True):
                parameter.copy_(torch.tensor(part).view_as(parameter))

    def save(self, path: str | os.PathLike[str] | BufferedIOBase) -> None:
        """Write the parameters, and the arguments to make the policy again; nothing is pickled.

        Args:
            path: of the file, ``.safetensors`` added where it has no suffix, or a binary file object.

        Raises:
            OSError: the file cannot be written.
        """
        arguments = self._get_constructor_parameters()
        del arguments["lr_schedule"]  # as in SB3, a policy alone has none
        tensors: dict[str, Tensor] = {}
        parts = {
            "policy": dict(self.state_dict()),
            "spaces": [plain_space(arguments.pop(name)) for name in _SPACES],
            "arguments": {name: held(value) for name, value in arguments.items()},
        }
        data = {name: encode(part, tensors, name) for name, part in parts.items()}
        write_tensors(place_to_write(path), tensors, {"format": FORMAT, "version": VERSION, **data})

    @classmethod
    def load(
        cls, path: str | os.PathLike[str] | BufferedIOBase, device: torch.device | str = "auto", **given: Any
    ) -> Self:
        """A policy that :meth:`save` wrote; runs no code that the file could bring.

        Args:
            path: as in :meth:`save`.
            device: to put it on.
            **given: arguments of the constructor that replace the saved ones; what no file can hold must
                be given, such as a features extractor of one's own.

        Raises:
            OSError: the file cannot be read.
            TensorFileError: it is damaged, or no policy's.
            ValueError: an argument is lacking, or is not allowed.
        """
        tensors, data = read_tensors(place_to_read(path))
        check_format(data, FORMAT, VERSION, "PlasticPolicy.save")
        try:
            parts = {name: decode(data[name], tensors) for name in ("policy", "spaces", "arguments")}
            held_spaces = dict(zip(_SPACES, map(space_from_plain, parts["spaces"]), strict=True))
            arguments: dict[str, Any] = {
                **parts["arguments"],
                **held_spaces,
                "lr_schedule": cls._dummy_schedule,
                **given,
            }
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise TensorFileError(f"the file is not whole ({error!r}): give another file") from error
        if tensors:
            raise TensorFileError(f"{min(tensors)} is in the file, but belongs to nothing: give another file")
        for name, value in arguments.items():
            if isinstance(value, Absent):
                raise ValueError(
                    f"the saved policy's {name} was {value.what}, which no file holds: load(..., {name}=...)"
                )
        try:
            with torch.device("meta"):  # before any memory is taken
                expected = cls(**arguments).state_dict()
        except (AssertionError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
            raise TensorFileError(
                f"the arguments in the file are not allowed ({error}): give another file"
            ) from error
        check_alike("policy", parts["policy"], expected)
        policy = cls(**arguments)
        policy.load_state_dict(parts["policy"])
        policy.to(get_device(device))
        return policy

    def _whole(self, state: Any, episode_starts: Tensor) -> tuple[Any, Tensor]:
        """State and starts as :meth:`forward` takes them, whether of one step or of whole sequences."""
        starts = torch.as_tensor(episode_starts, device=self.device).bool()
        starts = starts if starts.ndim == 2 else starts[None]
        return self.initial_state(starts.shape[1]) if state is None else state, starts

    def _features(self, obs: ObservationTensor) -> Tensor:
        return self.extract_features(obs)

    def _get_constructor_parameters(self) -> dict[str, Any]:
        data = super()._get_constructor_parameters()
        data.update(
            self.core_kwargs,
            lr_schedule=self._dummy_schedule,
            ortho_init=self.ortho_init,
            log_std_init=self.log_std_init,
            features_extractor_class=self.features_extractor_class,
            features_extractor_kwargs=self.features_extractor_kwargs,
            optimizer_class=self.optimizer_class,
            optimizer_kwargs=self.optimizer_kwargs,
        )
        return data


def _no_argument(name: str) -> str:
    """The complaint about an argument that there is not, with what to write instead."""
    if name in _ELSEWHERE:
        return f"PlasticPolicy has no argument {name!r}: {_ELSEWHERE[name]}"
    given_by_the_agent = ("lr_schedule", *_SPACES)
    names = [known for known in signature(PlasticPolicy).parameters if known not in given_by_the_agent][:-1]
    close = get_close_matches(name, names, n=1)
    advice = f"did you mean {close[0]!r}?" if close else f"it has {', '.join(names)}"
    return f"PlasticPolicy has no argument {name!r}: {advice}"


def draws_from_softmax(policy: PlasticPolicy) -> bool:
    """True where actions are those of a softmax of the head: neither method nor distribution is another."""
    return (
        type(policy.action_dist) is CategoricalDistribution
        and vars(policy.action_dist).keys() <= {"action_dim", "distribution"}
        and type(policy).distribution is _DISTRIBUTION
        and "distribution" not in vars(policy)
    )


_DISTRIBUTION = PlasticPolicy.distribution
