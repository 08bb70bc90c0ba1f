"""Those who race: our programs, and the same work as others do it. Each runs in a process of its own."""
