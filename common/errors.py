"""The errors that a user can cause or cure. Nothing else is caught and shown without a traceback.

FedwardError
├── ConfigError    a recipe, option or key is wrong
├── DataError      a data set cannot be used as it is
├── ModelError     a model, or arrays that claim to belong to it, do not fit
├── UpdateError    a hospital's reply is refused
│   └── RefusedError   a hospital refused an order, and nothing left it
├── BudgetError    a hospital's privacy budget or policy forbids what was asked
├── LedgerError    a privacy ledger is damaged, altered or not readable
└── RunError       a run cannot start, go on or be resumed
    └── StoppedError   somebody asked it to stop

A message says what is wrong, where, and what to do about it.
"""


class FedwardError(Exception):
    """Base of all errors that the command line shows as one line, with exit code 1."""


class ConfigError(FedwardError):
    """A recipe, an option or a key is wrong."""


class DataError(FedwardError):
    """A data set cannot be used as it is."""


class ModelError(FedwardError):
    """A model, or arrays that claim to belong to it, do not fit."""


class UpdateError(FedwardError):
    """A hospital's reply is refused; the round goes on without it."""


class RefusedError(UpdateError):
    """A hospital refused an order before it read data; the round goes on without it."""


class BudgetError(FedwardError):
    """A hospital's privacy budget or policy forbids what was asked; nothing was read or released.

    Attributes:
        reason: one word for machines, as in the ledger's entry of the refusal.
    """

    def __init__(self, message: str, *, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


class LedgerError(FedwardError):
    """A privacy ledger is damaged, altered or not readable.

    Attributes:
        entry: number of the first entry that is wrong; None when it is not about one entry.
    """

    def __init__(self, message: str, *, entry: int | None = None) -> None:
        super().__init__(f"entry {entry}: {message}" if entry is not None else message)
        self.entry = entry


class RunError(FedwardError):
    """A run cannot start, go on or be resumed."""


class StoppedError(RunError):
    """Somebody asked the run to stop; it can be resumed."""

    def __init__(self) -> None:
        super().__init__("interrupted")
