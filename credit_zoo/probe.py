"""`python -m credit_zoo.probe`: see `credit_zoo.lab.probe`."""

import sys

from credit_zoo.lab.probe import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
