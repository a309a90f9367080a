"""Projects: find one, load its rooms, open its engine; copy out a new one.

rooms       find a project, load its machines, make its engine
names       runs and tasks as people name them
many        pause, resume, cancel, retry: one run or many
settings    environment over pyproject.toml
starter     `leverframe init` and `leverframe new`
diagram     a Mermaid drawing, read; drafted writes the rooms of it
"""

from leverframe.project.rooms import ROOMS as ROOMS
from leverframe.project.rooms import AnyMachine as AnyMachine
from leverframe.project.rooms import Project as Project
from leverframe.project.rooms import Unloaded as Unloaded
from leverframe.project.rooms import find as find
from leverframe.project.rooms import of as of
from leverframe.project.starter import drawn as drawn
from leverframe.project.starter import init as init
from leverframe.project.starter import new as new
