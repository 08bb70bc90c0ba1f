"""Group normalisation and the SiLU after it, as one operation: `layer` is what networks use, the rest how it is computed."""
