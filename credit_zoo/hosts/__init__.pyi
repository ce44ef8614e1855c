from .laptop import Laptop as Laptop
from .laptop import laptop as laptop
from .trl import Shaped as Shaped
