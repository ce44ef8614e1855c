from .contract import Difficulty as Difficulty
from .contract import Role as Role
from .contract import Span as Span
from .contract import Verdict as Verdict
from .solutions import ErrorWriter as ErrorWriter
from .solutions import SolutionWriter as SolutionWriter
from .twin import Example as Example
from .twin import Twin as Twin
