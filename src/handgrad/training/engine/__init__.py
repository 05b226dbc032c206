"""The loop: objective, optimiser, chunks of steps as programs, a fit that yields."""
