"""Actor and critic on a recurrent core."""

import warnings
from difflib import get_close_matches
from functools import partial
from inspect import signature
from typing import Any, Literal

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
from stable_baselines3.common.preprocessing import is_image_space, preprocess_obs
from stable_baselines3.common.torch_layers import (
    BaseFeaturesExtractor,
    CombinedExtractor,
    FlattenExtractor,
    NatureCNN,
)
from stable_baselines3.common.type_aliases import Schedule
from stable_baselines3.common.utils import get_device, obs_as_tensor
from torch import Tensor, nn
from typing_extensions import Never, Self

from plasticrl.agents.checkpoint.format import Format, check_given, reading
from plasticrl.agents.checkpoint.network import (
    check_as_made,
    check_network,
    made_without_memory,
    pack_network,
    replaced_in_core,
    restore_network,
)
from plasticrl.agents.checkpoint.random_state import undisturbed
from plasticrl.agents.checkpoint.tensor_file import PathOrFile, TensorFileError
from plasticrl.agents.checkpoint.tree import Absent, held, holds, plain_space, space_from_plain
from plasticrl.agents.common.feature_extractors import DictExtractor, image_extractor
from plasticrl.agents.recurrent.masks import as_argument, masked_head
from plasticrl.agents.recurrent.normalization import Moments, ObservationNormalizer
from plasticrl.agents.recurrent.rollout import ObservationTensor
from plasticrl.agents.recurrent.spaces import (
    actions_from_env,
    actions_to_env,
    batched,
    check_spaces,
    checked_masks,
    chosen_space,
    seen,
    seen_space,
    to_numpy,
)
from plasticrl.nn import Init
from plasticrl.nn.factory import CORE_NAMES as CORE_NAMES
from plasticrl.nn.factory import CoreName as CoreName
from plasticrl.nn.factory import make_core as make_core
from plasticrl.ops import Backend
from plasticrl.ops.cells import Modulation
from plasticrl.rules import RuleLike


def with_former_defaults(arguments: dict[str, Any], *, own_class: bool = False) -> dict[str, Any]:
    """Return arguments of a policy saved before observations and returns were normalized.

    Args:
        arguments: those that the file holds; the others had the defaults of that time.
        own_class: the policy is of a class of the user's own, which may have another size by default.
    """
    former: dict[str, Any] = {"normalize_observations": False, "normalize_returns": False}
    if arguments.get("core", "plastic") in ("plastic", "homogeneous"):
        former["bound_eta"] = False
    if not own_class:
        former["hidden_size"] = 200
    return former | arguments


_FORMAT = Format(
    "plasticrl.PlasticPolicy",
    2,
    "PlasticPolicy.save",
    ("policy", "spaces", "arguments"),
    upgrade={1: lambda parts: {**parts, "arguments": with_former_defaults(parts["arguments"])}},
)
_SPACES = ("observation_space", "action_space")
_FIRST = (*_SPACES, "lr_schedule")  # of the constructor's arguments
_NO_GSDE = "there is no state-dependent exploration (gSDE): leave it out"
_ONE_CORE = "actor and critic share one core: leave it out"
# Arguments of SB3's and sb3-contrib's policies that this policy lacks.
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
    "lstm_kwargs": "the options of core='lstm' are hidden_size and forget_bias: leave it out",
}


class PlasticPolicy(BasePolicy):
    """Actor-critic policy: a features extractor, a recurrent core, and linear heads for action and value.

    Args:
        observation_space: Box, Discrete, MultiDiscrete, MultiBinary or Dict of these.
        action_space: Discrete, MultiDiscrete, MultiBinary, or Box with finite bounds. Actions of a Box are
            clipped to its bounds, as in SB3; those of an integer Box are also rounded.
        lr_schedule: learning rate as a function of the remaining progress, from 1 to 0.
        core: ``"plastic"`` (default), ``"plastic_lstm"``, ``"plastic_gru"``, ``"homogeneous"``, ``"rnn"``,
            ``"lstm"``, ``"gru"`` or ``"feedforward"``; see :func:`plasticrl.agents.make_core`.
        hidden_size: number of neurons of the core. Default 64.
        rule: update rule of the trace. For this and the next nine arguments see
            :class:`plasticrl.PlasticRNN` and :class:`plasticrl.PlasticLSTM`; None selects the core's default.
            Plastic cores only, but for ``forget_bias``.
        modulation: factor of the rate at which neurons store.
        modulate: one modulation for each of the neurons, or one for the network.
        eta: initial learning rate of the trace.
        bound_eta: keep eta in (0, 1).
        init: distribution of the initial w and alpha.
        init_scale: scale of that distribution.
        alpha_scale: scale of alpha's.
        forget_bias: added to the initial bias of the gates that keep memories (cores with gates).
        backend: implementation of the recurrence, see :func:`plasticrl.plastic_scan`.
        ortho_init: orthogonal initial weights for features and heads, as in SB3. Default True.
        log_std_init: initial logarithm of the standard deviation, for Box actions. Default 0.
        features_extractor_class: class of the features extractor. Default: NatureCNN for images,
            CombinedExtractor for dicts, otherwise FlattenExtractor; see ``feature_extractors.py`` for small
            images and for keys that torch refuses.
        features_extractor_kwargs: arguments of that class.
        normalize_images: divide images by 255. Default True.
        normalize_observations: scale observations of floats by their running mean and variance, within ±10.
            Images, and what is one-hot encoded, stay as they are. Default True.
        normalize_returns: let the value head predict returns scaled by the running mean and variance of the
            discounted rewards; values are given in the env's unit nevertheless. Default True.
        optimizer_class: class of the optimiser. Default Adam.
        optimizer_kwargs: arguments of the optimiser except the learning rate. Default ``eps=1e-4`` for Adam,
            as in the paper.

    Raises:
        ValueError: a space is not supported, the core or the rule is unknown, or an argument is unknown or
            not an option of the core.
    """

    def __init__(
        self,
        observation_space: spaces.Space[Any],
        action_space: spaces.Space[Any],
        lr_schedule: Schedule,
        core: CoreName = "plastic",
        hidden_size: int = 64,
        rule: RuleLike | None = None,
        modulation: Modulation | None = None,
        modulate: Literal["neurons", "network"] | None = None,
        eta: float | None = None,
        bound_eta: bool | None = None,
        init: Init | None = None,
        init_scale: float | None = None,
        alpha_scale: float | None = None,
        forget_bias: float | None = None,
        backend: Backend | None = None,
        ortho_init: bool = True,
        log_std_init: float = 0.0,
        features_extractor_class: type[BaseFeaturesExtractor] | None = None,
        features_extractor_kwargs: dict[str, Any] | None = None,
        normalize_images: bool = True,
        normalize_observations: bool = True,
        normalize_returns: bool = True,
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
            "modulation": modulation,
            "modulate": modulate,
            "eta": eta,
            "bound_eta": bound_eta,
            "init": init,
            "init_scale": init_scale,
            "alpha_scale": alpha_scale,
            "forget_bias": forget_bias,
            "backend": backend,
        }
        given: dict[str, Any] = {name: value for name, value in options.items() if value is not None}
        self.core_kwargs: dict[str, Any] = {"core": core, "hidden_size": hidden_size, **given}
        self.ortho_init = ortho_init
        self.log_std_init = log_std_init
        self._seen_space = seen_space(observation_space)
        self.observation_normalizer = (
            ObservationNormalizer(observation_space) if normalize_observations else None
        )
        self.return_moments = Moments() if normalize_returns else None
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
        """Return the core's state at the start of ``batch_size`` episodes."""
        return self.core.initial_state(batch_size)

    def step_(self, obs: ObservationTensor, state: Any, episode_starts: Tensor) -> Tensor:
        """Run one step of the core without gradient and overwrite ``state``.

        Args:
            obs: ``(B, ...)``.
            state: the core's state, changed in place.
            episode_starts: bool ``(B,)``.

        Returns:
            The core's outputs ``(B, hidden_size)``, the input of :meth:`distribution` and :meth:`values`.
        """
        with torch.no_grad():
            return self.core.step_(self.extract_features(obs), state, episode_starts)

    def forward(
        self,
        obs: ObservationTensor,
        state: Any,
        episode_starts: Tensor,
        known: tuple[Tensor, Any] | None = None,
        action_masks: Tensor | None = None,
    ) -> tuple[Distribution, Tensor, Any]:
        """Unroll over whole sequences, with gradient.

        Args:
            obs: ``(T * B, ...)``, time first.
            state: the core's state before the first step.
            episode_starts: bool ``(T, B)``.
            known: the outputs of :meth:`step_` at each step, ``(T, B, hidden_size)``, and the state after
                the last one. A plastic core then skips the forward pass. The policy must compute the same in
                training and have been run with the same parameters; this is not checked.
            action_masks: the allowed values of the actions, bool ``(T * B, size)``. Default: all.

        Returns:
            Distribution of the ``T * B`` actions, values ``(T * B,)``, and the final state.
        """
        steps, batch = episode_starts.shape
        features = self.extract_features(obs).view(steps, batch, -1)
        if known is None:
            latent, state = self.core(features, state, episode_starts)
        else:
            latent, state = self.core.replay(features, state, episode_starts, known)
        latent = latent.flatten(0, 1)
        return self.distribution(latent, **as_argument(action_masks)), self.values(latent), state

    def distribution(self, outputs: Tensor, action_masks: Tensor | None = None) -> Distribution:
        """Return the distribution of the actions.

        Args:
            outputs: the core's outputs ``(N, hidden_size)``.
            action_masks: the allowed values of the actions, bool ``(N, size)``. Default: all. The others
                have probability 0, and no part in the entropy.
        """
        head = self._head(outputs, action_masks)
        if isinstance(self.action_dist, DiagGaussianDistribution):
            assert self.log_std is not None
            return self.action_dist.proba_distribution(head, self.log_std)
        return self.action_dist.proba_distribution(head)

    def _head(self, outputs: Tensor, action_masks: Tensor | None) -> Tensor:
        head: Tensor = self.action_net(outputs)
        return head if action_masks is None else masked_head(head, action_masks, self.action_space)

    def sample(self, outputs: Tensor, action_masks: Tensor | None = None) -> Tensor:
        """Draw actions without gradient; the arguments are those of :meth:`distribution`."""
        with torch.no_grad():
            if draws_from_softmax(self):
                # The draw of Categorical.sample(), without building the distribution at every step.
                head = self._head(outputs, action_masks)
                return torch.multinomial(torch.softmax(head, dim=-1), 1).squeeze(-1)
            return self.distribution(outputs, **as_argument(action_masks)).sample()

    def values(self, outputs: Tensor) -> Tensor:
        """Return the value estimates ``(...)``, given the core's outputs ``(..., hidden_size)``."""
        value: Tensor = self.value_net(outputs).squeeze(-1)
        if self.return_moments is None:
            return value
        return value * self.return_moments.std.to(value.dtype) + self.return_moments.mean.to(value.dtype)

    def predict_values(self, obs: ObservationTensor, state: Any, episode_starts: Tensor) -> Tensor:
        """Return the values of observations for bootstrapping, without gradient; the state is not changed.

        Args:
            obs: ``(B, ...)``, or whole sequences ``(T * B, ...)``, time first.
            state: the core's state before the observations; None for the start of episodes.
            episode_starts: ``(B,)``, or ``(T, B)``.

        Returns:
            ``(B,)``, or ``(T * B,)``.
        """
        with torch.no_grad():
            values: Tensor = self(obs, *self._whole(state, episode_starts))[1]
        return values

    def evaluate_actions(
        self,
        obs: ObservationTensor,
        actions: Tensor,
        state: Any,
        episode_starts: Tensor,
        action_masks: Tensor | None = None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Evaluate given actions, with gradient; named as in SB3, with the state as in sb3-contrib.

        Args:
            obs: ``(B, ...)``, or whole sequences ``(T * B, ...)``, time first (sb3-contrib has batch first).
            actions: one action for each observation, as returned by :meth:`predict`; those of a Box may
                exceed its bounds.
            state: the core's state before the observations, not changed; None for the start of episodes.
            episode_starts: ``(B,)``, or ``(T, B)``.
            action_masks: the allowed values of the actions, bool ``(T * B, size)``. Default: all.

        Returns:
            Values, log-probabilities of the actions, and entropies, each with one entry per observation.
        """
        distribution, values, _ = self(obs, *self._whole(state, episode_starts), **as_argument(action_masks))
        log_prob: Tensor = distribution.log_prob(actions_from_env(actions, self.action_space))
        return values, log_prob, distribution.entropy()

    def get_distribution(
        self,
        obs: ObservationTensor,
        state: Any,
        episode_starts: Tensor,
        action_masks: Tensor | None = None,
    ) -> tuple[Distribution, Any]:
        """Return the distribution of the actions, with gradient, and the state after the observations.

        The arguments are those of :meth:`evaluate_actions`. The categories of Discrete and MultiDiscrete
        actions are counted from 0, whatever the space's start; actions of a Box are not clipped.
        """
        distribution, _, after = self(obs, *self._whole(state, episode_starts), **as_argument(action_masks))
        return distribution, after

    def reset_noise(self, n_envs: int = 1) -> None:
        """Raise, as SB3's policies do without state-dependent exploration (gSDE).

        Raises:
            NotImplementedError: always.
        """
        raise NotImplementedError("reset_noise() is for gSDE (use_sde=True), which this policy lacks")

    def predict(
        self,
        observation: npt.NDArray[Any] | dict[str, npt.NDArray[Any]],
        state: tuple[npt.NDArray[Any], ...] | None = None,
        episode_start: npt.NDArray[Any] | None = None,
        deterministic: bool = False,
        action_masks: npt.NDArray[Any] | None = None,
    ) -> tuple[npt.NDArray[Any], tuple[npt.NDArray[Any], ...] | None]:
        """Return actions, as ``RecurrentPPO.predict`` does; the given state is not changed.

        Args:
            observation: observation of one environment or of B.
            state: the state returned by the previous call; None at the start.
            episode_start: bool ``(B,)``, true if an episode begins. Default: none begins.
            deterministic: return the most probable action instead of a sample.
            action_masks: the allowed values of the actions, as the env's ``action_masks()`` returns them,
                ``(size,)`` or ``(B, size)``. Default: all.

        Returns:
            Actions and the new state, a tuple of arrays with B rows.

        Raises:
            ValueError: the observation does not fit the space, the state, ``episode_start`` or
                ``action_masks`` is for another number of environments, or the masks allow no action.
        """
        self.set_training_mode(False)
        if isinstance(observation, tuple) and observation and isinstance(observation[-1], (dict, list)):
            raise ValueError(
                "predict() got a tuple, as env.reset() and env.step() return, not an observation: "
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
        masks = None
        if action_masks is not None:
            checked = checked_masks(action_masks, self.action_space, batch)
            masks = torch.as_tensor(checked, device=self.device)
            if current and state is None and episode_start is not None and not starts.all():
                warnings.warn(
                    "predict() got no state within an episode, so the agent does not remember its beginning; "
                    "sb3-contrib's evaluation with masks passes none: use evaluate_policy or "
                    "MaskedEvalCallback of plasticrl.agents",
                    stacklevel=3,
                )
        with torch.no_grad():
            first = torch.as_tensor(starts.astype(np.bool_), device=self.device).expand(batch)
            outputs = self.step_(obs, current, first)
            distribution = self.distribution(outputs, **as_argument(masks))
            chosen = to_numpy(distribution.get_actions(deterministic=deterministic))
        actions = actions_to_env(chosen, self.action_space)
        if not vectorized:
            actions = actions.squeeze(axis=0)
        return actions, tuple(map(to_numpy, current))

    def _given_state(self, state: Any, batch: int) -> Any:
        """Return a copy of the state that ``predict`` returned before, as the core's state."""
        fresh = self.initial_state(batch)
        if state is None:
            return fresh
        expected = [tuple(part.shape) for part in fresh]
        advice = f"must have shapes {expected} for {batch} environments"
        if not isinstance(state, (tuple, list)):
            raise ValueError(
                f"state {advice}, as predict returns it, not {type(state).__name__}; "
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
        """Return observations as tensors ``(N, ...)``, and True if they are of several environments.

        Named as in SB3.

        Raises:
            ValueError: the observations do not fit the observation space.
        """
        arrays, several = batched(observation, self.observation_space)
        return obs_as_tensor(arrays, self.device), several

    def is_vectorized_observation(self, observation: Any) -> bool:
        """Return True if observations are of several environments, False if of one.

        Raises:
            ValueError: the observations do not fit the observation space.
        """
        return batched(observation, self.observation_space)[1]

    def make_features_extractor(self) -> BaseFeaturesExtractor:
        """Build a features extractor of the given class with the given arguments."""
        return self.features_extractor_class(self._seen_space, **self.features_extractor_kwargs)

    def extract_features(
        self, obs: ObservationTensor, features_extractor: BaseFeaturesExtractor | None = None
    ) -> Tensor:
        """Return features ``(N, features_dim)`` of observations ``(N, ...)``.

        Args:
            obs: the observations.
            features_extractor: the extractor to use. Default: the policy's own.
        """
        prepared = preprocess_obs(
            seen(obs, self.observation_space), self._seen_space, normalize_images=self.normalize_images
        )
        if self.observation_normalizer is not None:
            prepared = self.observation_normalizer(prepared)
        extractor = self.features_extractor if features_extractor is None else features_extractor
        features: Tensor = extractor(prepared)
        return features

    def load_from_vector(self, vector: npt.NDArray[Any]) -> None:
        """Set all parameters from a vector that :meth:`parameters_to_vector` returned.

        Raises:
            ValueError: the vector has another length.
        """
        parameters = list(self.parameters())
        sizes = [parameter.numel() for parameter in parameters]
        if np.shape(vector) != (sum(sizes),):
            raise ValueError(f"the vector must have shape ({sum(sizes)},), not {np.shape(vector)}")
        with torch.no_grad():  # SB3 would make the parameters views of the vector
            for parameter, part in zip(parameters, torch.split(torch.tensor(vector), sizes), strict=True):
                parameter.copy_(part.view_as(parameter))

    def save(self, path: PathOrFile) -> None:
        """Write the parameters and the constructor's arguments to a file; nothing is pickled.

        Args:
            path: path of the file (``.safetensors`` is added if it has no suffix), or a binary file object.

        Raises:
            OSError: the file cannot be written.
            TypeError: a file cannot hold the spaces or a part of the policy.
            ValueError: :meth:`load` would refuse the file; the message says why.
        """
        arguments = self._get_constructor_parameters()
        parts = {
            **pack_network(self),
            "spaces": [plain_space(arguments[name]) for name in _SPACES],
            # As in SB3, a policy alone has no schedule.
            "arguments": {name: held(value) for name, value in arguments.items() if name not in _FIRST},
        }
        _FORMAT.save(path, parts, partial(self._check_loads, arguments))

    def _check_loads(self, own: dict[str, Any], parts: dict[str, Any]) -> None:
        """Check that :meth:`load` accepts these parts, given those arguments that a file cannot hold.

        Raises:
            ValueError: it would not; the message says why.
        """
        first, arguments = _arguments_of(parts)
        arguments |= {name: own[name] for name, value in arguments.items() if isinstance(value, Absent)}
        with undisturbed(self.device):  # a class of the user's may draw numbers while it is built
            try:
                made = policy_without_memory(type(self), first, arguments)
            except TensorFileError:
                if type(self) is PlasticPolicy:
                    raise
                made = self  # a class of the user's may need arguments that only the call of load gives
        check_as_made("policy", self, made)
        check_network(made, parts)

    @classmethod
    def load(cls, path: PathOrFile, device: torch.device | str = "auto", **given: Any) -> Self:
        """Load a policy that :meth:`save` wrote; no code from the file is run.

        Args:
            path: as in :meth:`save`.
            device: device of the policy.
            **given: arguments of the constructor that replace the saved ones. Those that a file cannot hold,
                such as a custom features extractor, must be given.

        Raises:
            OSError: the file cannot be read.
            TensorFileError: it is damaged, or not the file of a policy.
            ValueError: an argument is missing or not allowed.
        """
        parts = _FORMAT.load(path)
        first, arguments = _arguments_of(parts)
        first = tuple(given.pop(name, value) for name, value in zip(_FIRST, first, strict=True))
        arguments |= given
        check_given("the saved policy's", arguments, "{}=...")
        check_network(policy_without_memory(cls, first, arguments), parts)
        policy = cls(*first, **arguments)
        restore_network(policy, parts)
        policy.to(get_device(device))
        return policy

    def _whole(self, state: Any, episode_starts: Tensor) -> tuple[Any, Tensor]:
        """Return state and starts in the form that :meth:`forward` takes, for one step or whole sequences."""
        starts = torch.as_tensor(episode_starts, device=self.device).bool()
        starts = starts if starts.ndim == 2 else starts[None]
        return self.initial_state(starts.shape[1]) if state is None else state, starts

    def _get_constructor_parameters(self) -> dict[str, Any]:
        data = super()._get_constructor_parameters()
        data.update(
            {**self.core_kwargs, **replaced_in_core(self, self.core_kwargs)},
            lr_schedule=self._dummy_schedule,
            ortho_init=self.ortho_init,
            log_std_init=self.log_std_init,
            features_extractor_class=self.features_extractor_class,
            features_extractor_kwargs=self.features_extractor_kwargs,
            normalize_observations=self.observation_normalizer is not None,
            normalize_returns=self.return_moments is not None,
            optimizer_class=self.optimizer_class,
            optimizer_kwargs=self.optimizer_kwargs,
        )
        return data


def policy_without_memory(
    cls: type[PlasticPolicy], first: tuple[Any, ...], arguments: dict[str, Any]
) -> PlasticPolicy:
    """Build a policy without allocating memory, so that a file cannot demand more than it holds.

    Args:
        cls: class of the policy.
        first: spaces and schedule.
        arguments: all other arguments.

    Raises:
        TensorFileError: the arguments are not allowed.
    """
    own = cls is not PlasticPolicy or not holds(arguments)  # given by the user, not by the file
    try:
        return made_without_memory(partial(cls, *first, **arguments), trusted=own)
    except (ArithmeticError, AssertionError, AttributeError, LookupError, RuntimeError) as error:
        raise TensorFileError(f"policy_kwargs in the file are not allowed ({error!r})") from error
    except (TypeError, ValueError) as error:
        raise TensorFileError(f"policy_kwargs in the file are not allowed ({error})") from error


def _arguments_of(parts: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return the constructor's arguments in a policy's file: spaces and schedule, and all others.

    Raises:
        TensorFileError: they are incomplete or invalid.
    """
    with reading():
        observations, actions = map(space_from_plain, parts["spaces"])
        others = {name: value for name, value in parts["arguments"].items() if name not in _FIRST}
    return (observations, actions, PlasticPolicy._dummy_schedule), others


def _no_argument(name: str) -> str:
    """Return the error message for an unknown argument, with advice."""
    if name in _ELSEWHERE:
        return f"PlasticPolicy has no argument {name!r}: {_ELSEWHERE[name]}"
    names = [known for known in signature(PlasticPolicy).parameters if known not in _FIRST][:-1]
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


def default_extractor(space: spaces.Space[Any], normalize_images: bool) -> type[BaseFeaturesExtractor]:
    """Return the class that SB3 would choose if it supports the space, otherwise one of this package.

    Raises:
        ValueError: an image has its channels last.
    """
    inner = space.spaces if isinstance(space, spaces.Dict) else {"": space}
    images = [
        part
        for part in inner.values()
        if isinstance(part, spaces.Box) and is_image_space(part, normalized_image=not normalize_images)
    ]
    for image in images:
        if not is_image_space(image) and image.shape[2] < image.shape[0]:  # SB3 transposes the others
            raise ValueError(
                f"with normalize_images=False an image must have channels first, not shape {image.shape}: "
                "transpose it with gymnasium.wrappers.TransformObservation"
            )
    if not isinstance(space, spaces.Dict):
        return image_extractor(images[0]) if images else FlattenExtractor
    fits = all(image_extractor(image) is NatureCNN for image in images)
    return CombinedExtractor if fits and _are_names(inner) else DictExtractor


def _are_names(keys: Any) -> bool:
    """Return True if torch accepts all keys as names of modules."""
    try:
        nn.ModuleDict({key: nn.Flatten() for key in keys})
    except KeyError:
        return False
    return True
