"""How good and how honest a network is: numbers, temperature, report."""
