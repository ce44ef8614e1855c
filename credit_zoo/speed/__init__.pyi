from .profile import FOLDER as FOLDER
from .profile import PARTS as PARTS
from .profile import Profile as Profile
from .profile import measure as measure
