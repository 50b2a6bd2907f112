"""Actor and critic on a recurrent core."""

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
from stable_baselines3.common.preprocessing import is_image_space
from stable_baselines3.common.torch_layers import (
    BaseFeaturesExtractor,
    CombinedExtractor,
    FlattenExtractor,
    NatureCNN,
)
from stable_baselines3.common.type_aliases import Schedule
from torch import Tensor, nn

from plasticrl.agents.cores import CoreName, make_core
from plasticrl.agents.rollout import ObservationTensor
from plasticrl.nn import Init
from plasticrl.rules import RuleLike


class PlasticPolicy(BasePolicy):
    """Features, a recurrent core, and two linear heads on it: the policy and the value.

    Args:
        observation_space: Box, Discrete, MultiDiscrete, MultiBinary or Dict of these.
        action_space: Discrete, MultiDiscrete, MultiBinary or Box.
        lr_schedule: learning rate as a function of the remaining progress, from 1 to 0.
        core: ``"plastic"`` (default), ``"homogeneous"``, ``"rnn"``, ``"lstm"``, ``"gru"`` or
            ``"feedforward"``; see :func:`plasticrl.agents.make_core`.
        hidden_size: neurons of the core. Default 200, as in the paper's maze.
        rule: how the trace changes; like the next four, see :class:`plasticrl.PlasticRNN`, whose
            defaults hold where None is given. Plastic cores only.
        eta: initial learning rate of the trace.
        bound_eta: keep eta in (0, 1).
        init: distribution of the initial w and alpha.
        init_scale: its scale.
        ortho_init: orthogonal initial weights for features and heads, as in SB3. Default True.
        log_std_init: initial logarithm of the standard deviation, for Box actions. Default 0.
        features_extractor_class: default by observation: NatureCNN for images, CombinedExtractor
            for dicts, else FlattenExtractor.
        features_extractor_kwargs: its arguments.
        normalize_images: divide images by 255. Default True.
        optimizer_class: default Adam.
        optimizer_kwargs: beside the learning rate. Default ``eps=1e-4`` for Adam, as in the paper.

    Raises:
        ValueError: an unknown core or rule, or an option that the core does not have.
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
        ortho_init: bool = True,
        log_std_init: float = 0.0,
        features_extractor_class: type[BaseFeaturesExtractor] | None = None,
        features_extractor_kwargs: dict[str, Any] | None = None,
        normalize_images: bool = True,
        optimizer_class: type[torch.optim.Optimizer] = torch.optim.Adam,
        optimizer_kwargs: dict[str, Any] | None = None,
    ) -> None:
        if optimizer_kwargs is None:
            optimizer_kwargs = {"eps": 1e-4} if optimizer_class is torch.optim.Adam else {}
        super().__init__(
            observation_space,
            action_space,
            features_extractor_class or _default_extractor(observation_space, normalize_images),
            features_extractor_kwargs,
            normalize_images=normalize_images,
            optimizer_class=optimizer_class,
            optimizer_kwargs=optimizer_kwargs,
        )
        options = {"rule": rule, "eta": eta, "bound_eta": bound_eta, "init": init, "init_scale": init_scale}
        given = {name: value for name, value in options.items() if value is not None}
        self.core_kwargs: dict[str, Any] = {"core": core, "hidden_size": hidden_size, **given}
        self.ortho_init = ortho_init
        self.log_std_init = log_std_init
        self.features_extractor = self.make_features_extractor()
        self.core = make_core(core, self.features_extractor.features_dim, hidden_size, **given)
        self.action_dist = make_proba_distribution(action_space)
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
            if _is_usual_categorical(self):
                # The draw of Categorical.sample(), without building the distribution at every step.
                return torch.multinomial(torch.softmax(self.action_net(outputs), dim=-1), 1).squeeze(-1)
            return self.distribution(outputs).sample()

    def values(self, outputs: Tensor) -> Tensor:
        """Value estimates ``(...)``, given the core's outputs ``(..., hidden_size)``."""
        value: Tensor = self.value_net(outputs)
        return value.squeeze(-1)

    def predict_values(self, obs: ObservationTensor, state: Any, episode_starts: Tensor) -> Tensor:
        """Values ``(B,)`` of observations ``(B, ...)``, without changing the state: for bootstrapping."""
        with torch.no_grad():
            values: Tensor = self(obs, state, episode_starts[None])[1]
        return values

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
            ValueError: the observation does not fit the space, or the state another number of
                environments.
        """
        self.set_training_mode(False)
        obs, vectorized = self.obs_to_tensor(observation)
        batch = len(next(iter(obs.values())) if isinstance(obs, dict) else obs)
        current = self.initial_state(batch)
        if state is not None:
            if len(state) != len(current) or any(
                s.shape != c.shape for s, c in zip(state, current, strict=True)
            ):
                raise ValueError(
                    f"state must have shapes {[tuple(c.shape) for c in current]} for {batch} environments, "
                    f"not {[s.shape for s in state]}; pass state=None when the number of environments changes"
                )
            current = type(current)(
                *(
                    torch.tensor(s, dtype=c.dtype, device=self.device)
                    for s, c in zip(state, current, strict=True)
                )
            )
        starts = (
            np.zeros(batch, dtype=np.bool_)
            if episode_start is None
            else np.asarray(episode_start, dtype=np.bool_)
        )
        with torch.no_grad():
            outputs = self.step_(obs, current, torch.as_tensor(starts, device=self.device).expand(batch))
            actions = self.distribution(outputs).get_actions(deterministic=deterministic).cpu().numpy()
        actions = actions.reshape((-1, *(self.action_space.shape or ())))
        if isinstance(self.action_space, spaces.Box):
            actions = np.clip(actions, self.action_space.low, self.action_space.high)
        if not vectorized:
            actions = actions.squeeze(axis=0)
        return actions, tuple(c.cpu().numpy() for c in current)

    def _predict(self, observation: Any, deterministic: bool = False) -> Tensor:
        raise NotImplementedError(
            "a recurrent policy needs its state: use predict(observation, state, episode_start)"
        )

    def _features(self, obs: ObservationTensor) -> Tensor:
        return self.extract_features(obs, self.features_extractor)

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


def _default_extractor(space: spaces.Space[Any], normalized: bool) -> type[BaseFeaturesExtractor]:
    if isinstance(space, spaces.Dict):
        return CombinedExtractor
    return NatureCNN if is_image_space(space, normalized_image=not normalized) else FlattenExtractor


def _is_usual_categorical(policy: PlasticPolicy) -> bool:
    """Whether the actions are those of a softmax of the head: neither method nor distribution is another."""
    return (
        type(policy.action_dist) is CategoricalDistribution
        and vars(policy.action_dist).keys() <= {"action_dim", "distribution"}
        and type(policy).distribution is _DISTRIBUTION
        and "distribution" not in vars(policy)
    )


_DISTRIBUTION = PlasticPolicy.distribution
