from .config import resolve as resolve
from .experiment import publish as publish
from .experiment import run_experiment as run_experiment
from .plan import plan_lines as plan_lines
from .process_plan import process_lines as process_lines
