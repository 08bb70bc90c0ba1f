"""Files of weights, whoever wrote them: read without PyTorch, and without running anything in them."""
