"""`python -m inpaint_utils` is the command of app/command.py."""

import sys

from .app.command import main

if __name__ == "__main__":
    sys.exit(main())
