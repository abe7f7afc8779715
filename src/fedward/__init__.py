"""Fedward: federated emotion recognition for hospitals, with a privacy budget that can be checked."""

__version__ = "0.1.0"
