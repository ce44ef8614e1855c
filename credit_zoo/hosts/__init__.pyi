from .laptop import Laptop as Laptop
from .laptop import laptop as laptop
from .ms_swift import register_ms_swift_trainer as register_ms_swift_trainer
from .trl import Shaped as Shaped
from .verl import register_verl_trainer as register_verl_trainer
