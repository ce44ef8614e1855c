from .contract import NUMBERS as NUMBERS
from .contract import check_shaper as check_shaper
