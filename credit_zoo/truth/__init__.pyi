from .exact_values import token_advantage as token_advantage
from .exact_values import values_of as values_of
from .monte_carlo import continued as continued
from .monte_carlo import sampled_values as sampled_values
from .token_roles import ROLES as ROLES
from .token_roles import Labels as Labels
from .truth_signals import token_labels as token_labels
from .truth_signals import truth_signals as truth_signals
