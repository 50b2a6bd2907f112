"""The plastic recurrence: its specification and the backends that compute it."""

from plasticrl.ops.scan import Backend, plastic_scan
from plasticrl.ops.step import plastic_step_

__all__ = ["Backend", "plastic_scan", "plastic_step_"]
