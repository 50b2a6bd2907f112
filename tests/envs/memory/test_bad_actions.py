"""A bad action is refused in each world of memory."""

from typing import Any

import pytest

from plasticrl.envs import CueRewardEnv, RecallEnv


@pytest.mark.parametrize("kind", [RecallEnv, CueRewardEnv])
@pytest.mark.parametrize("action", [2, -1, 0.5, None, [0, 1]])
def test_bad_actions_are_refused_and_change_nothing(
    kind: type[RecallEnv | CueRewardEnv], action: Any
) -> None:
    env = kind()
    env.reset(seed=0)
    before = env.state
    with pytest.raises(ValueError, match="actions must be"):
        env.step(action)
    assert env.state is before
