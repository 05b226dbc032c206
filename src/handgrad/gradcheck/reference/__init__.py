"""What is true about a gradient, and how far rounding may be from it.

Autodiff of the loss in float64 is the reference (`float64`, `truth`); what autodiff
itself loses in the working dtype (`rounding`) is what a candidate may lose as well
(`tolerance`); and the slope of the loss itself (`slope`) shows whether its gradient is
its derivative (`audit`).
"""
