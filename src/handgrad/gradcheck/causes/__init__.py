"""What is wrong with a gradient: hypotheses, each of which explains some leaves.

A hypothesis looks at a `Mismatch` and makes claims (`claims`); `diagnose` asks all of
them, the cheap ones first, and lets the fewest claims cover the leaves.
"""
