from .gate_record import gates_table as gates_table
from .gate_record import load_all_gates as load_all_gates
from .probe_record import ProbeRecord as ProbeRecord
from .probe_record import load_all as load_all
from .probe_tables import credit_table as credit_table
from .probe_tables import mistakes_table as mistakes_table
from .probe_tables import temperature_table as temperature_table
