"""`python -m credit_zoo.rescore`: see `credit_zoo.evaluation.rescore`."""

import sys

from credit_zoo.evaluation import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
