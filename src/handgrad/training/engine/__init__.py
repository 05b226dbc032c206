"""The loop: objective, optimiser, one chunk of steps as one program, a fit that yields."""
