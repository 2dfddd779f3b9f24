"""What is written down, and only that: manifests, reports, fidelity. Old versions are read here too. Everybody may import it."""
