from .profile import FOLDER as FOLDER
from .profile import PARTS as PARTS
from .profile import measure as measure
from .work import Work as Work
