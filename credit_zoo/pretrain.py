"""`python -m credit_zoo.pretrain`: see `credit_zoo.lab.pretrain`."""

import sys

from credit_zoo.lab.pretrain import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
