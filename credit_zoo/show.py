"""`python -m credit_zoo.show`: see `credit_zoo.lab.token_picture`."""

import sys

from credit_zoo.lab.token_picture import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
