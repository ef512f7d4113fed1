"""The training loop: phases, epochs, steps, and what belongs to them."""
