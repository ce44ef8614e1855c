from .api import listen as listen
from .api import run as run
from .api import shape as shape
from .api import shaper as shaper
from .api import token_statistics as token_statistics
from .registry import UsageError as UsageError
from .shapers._table import shapers as shapers
from .testing.contract import check_shaper as check_shaper

__version__: str
CONTRACT_VERSION: int
LOOP_VERSION: int
