from .probe_record import ProbeRecord as ProbeRecord
from .probe_record import credit_table as credit_table
from .probe_record import load_all as load_all
from .probe_record import mistakes_table as mistakes_table
