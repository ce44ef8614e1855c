"""`python -m credit_zoo.curves`: see `credit_zoo.leaderboard.curves`."""

import sys

from credit_zoo.leaderboard.curves import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
