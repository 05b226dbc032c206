"""Derivatives are tested in float64, and no dtype or rank is promoted unseen."""

from helpers import strict as strict
