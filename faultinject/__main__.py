"""``python -m faultinject``: the command line."""

import sys

from faultinject.cli import main

sys.exit(main())
