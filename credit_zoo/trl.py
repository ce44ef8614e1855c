"""TRL with the zoo's credit rules: `from credit_zoo.trl import Shaped`; `credit_zoo.hosts.trl` says what it does."""

from credit_zoo.hosts import Shaped as Shaped

__all__ = ["Shaped"]
