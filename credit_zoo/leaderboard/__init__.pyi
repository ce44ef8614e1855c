from .locations import page_folder as page_folder
from .site import Pages as Pages
from .site import build as build
from .site import write_pages as write_pages
from .site import write_sections as write_sections
from .tables import row as row
