from .forest import draw as draw
from .page import page as page
from .record import load as load
from .record import load_all as load_all
