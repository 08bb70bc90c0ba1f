"""How peers are timed in turn, and how what came out is written down."""
