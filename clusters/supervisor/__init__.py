"""Keeps a broker running on hosts without systemd. Shipped in the bundle: standard library only.

Must never trust a bare process id (ids are used again), never start a second broker beside a
running one, and never give up: a broker that keeps failing is tried less often.
"""
