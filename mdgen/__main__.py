"""`python -m mdgen`, the same as the command `mdgen`, for launchers such as `torchrun -m mdgen`."""

import sys

from mdgen.apps.main import main

if __name__ == "__main__":
    sys.exit(main())
