"""TRL with the zoo's credit rules: `from credit_zoo.trl import Shaped`; `credit_zoo.hosts.trl` says what it does."""

from credit_zoo.hosts import Laptop as Laptop
from credit_zoo.hosts import Shaped as Shaped
from credit_zoo.hosts import laptop as laptop

__all__ = ["Laptop", "Shaped", "laptop"]
