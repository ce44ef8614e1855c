from .board import row as row
from .folders import page_folder as page_folder
from .pages import Pages as Pages
from .pages import build as build
from .pages import write_pages as write_pages
