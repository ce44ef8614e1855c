"""`python -m credit_zoo.leaderboard`: see `credit_zoo.leaderboard.pages`."""

import sys

from credit_zoo.leaderboard.pages import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
