"""A traced program in other arithmetic: in float64 throughout, or in random rounding.

The program that JAX traced, with its own casts, is run operation by operation (`run`).
Every floating number in it is float64, whatever dtype the program gives it, so a cast
to bfloat16 in a loss takes nothing from the truth. *Random rounding* then rounds every
result that is not exact up or down at random (`moves`).

An operation that only moves, chooses or compares numbers is exact, and so is a cast to
a wider dtype. Calls, loops and branches are entered (`structures`). What cannot be had
in float64 (a callback, a kernel, the bits of a number) is run in its own dtype: an
*island* (`operations`).
"""
