"""Fedward: federated emotion recognition for hospitals, with a checkable privacy budget."""

__version__ = "0.1.0"
