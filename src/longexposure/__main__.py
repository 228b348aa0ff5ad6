"""`python -m longexposure` is the command line."""

from __future__ import annotations

from longexposure.cli.app import main

if __name__ == "__main__":
    main()
