from .report import CheckGpu as CheckGpu
from .report import check as check
from .report import page as page
