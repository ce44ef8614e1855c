from .token_roles import ROLES as ROLES
from .token_roles import Labels as Labels
from .truth_signals import token_labels as token_labels
from .truth_signals import truth_signals as truth_signals
