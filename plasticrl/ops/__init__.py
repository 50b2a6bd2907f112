"""The plastic recurrence: its specification and what computes it."""

from plasticrl.ops.scan import Backend, plastic_scan

__all__ = ["Backend", "plastic_scan"]
