from .board import row as row
from .pages import build as build
