from .trl import Shaped as Shaped
