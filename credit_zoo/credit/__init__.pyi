from .agreement import ranks as ranks
from .agreement import spearman as spearman
from .forest import draw as draw
from .page import page as page
from .record import CreditRecord as CreditRecord
from .record import RuleCredit as RuleCredit
from .record import load as load
from .record import load_all as load_all
