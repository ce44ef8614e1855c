from .contract import Difficulty as Difficulty
from .contract import Role as Role
from .contract import Span as Span
from .contract import Verdict as Verdict
from .twin import Example as Example
from .twin import Twin as Twin
from .writers import SlippingPen as SlippingPen
from .writers import TeachingPen as TeachingPen
