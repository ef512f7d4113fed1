"""A trained network → a bundle that proves itself."""
