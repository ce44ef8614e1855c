from .contract import check_shaper as check_shaper
