"""Every error that Counterfoil raises on purpose, one family tree.

CounterfoilError
├── InputError            what the user gave is wrong: a file, a row, a flag, a request
│   ├── ContractError     a file or request does not fit a contract
│   └── UnknownError      a name or id that nothing is known by
├── ConfigError           settings or a use case are wrong; all faults are named at once
├── GateError             the gate on data said no
│   └── GateFault         the gate itself broke: says nothing about the data
├── IntegrityError        bytes are not the bytes that were recorded
├── ConflictError         another process holds what this one needs, or was faster
├── UnavailableError      a part that is needed does not answer
└── AccessError           whoever asks may not

A message says what is wrong, the value, and what to do next. Catch at borders only.
"""


class CounterfoilError(Exception):
    """Root of the tree; `exit_code` is what the command line ends with."""

    exit_code = 1


class InputError(CounterfoilError):
    """What the user gave is wrong."""

    exit_code = 2


class ContractError(InputError):
    """A file or a request does not fit a contract."""


class UnknownError(InputError):
    """Nothing is known by that name or id."""


class ConfigError(CounterfoilError):
    """Settings or a use case are wrong."""

    exit_code = 2


class GateError(CounterfoilError):
    """The gate on data said no; the champion goes on serving."""

    exit_code = 3


class GateFault(GateError):
    """The gate itself broke, which says nothing about the data."""

    exit_code = 4


class IntegrityError(CounterfoilError):
    """Bytes are not the bytes that were recorded."""

    exit_code = 5


class ConflictError(CounterfoilError):
    """Another process holds what this one needs, or was faster."""

    exit_code = 6


class UnavailableError(CounterfoilError):
    """A part that is needed does not answer."""

    exit_code = 7


class AccessError(CounterfoilError):
    """Whoever asks may not."""

    exit_code = 8
