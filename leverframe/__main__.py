"""`python -m leverframe` is `leverframe`."""

from leverframe.cli import main

main()
