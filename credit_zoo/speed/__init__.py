"""What training costs, measured on this machine: `python -m credit_zoo.profile`.

Contenders take turns, so that a machine that slows down slows all of them; what is compared are ratios of neighbours
in time. Memory is counted in runs of its own, for counting takes time.
"""
