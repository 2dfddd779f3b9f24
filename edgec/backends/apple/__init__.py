"""Apple's chips: Core ML packages, run here by edgec's own evaluator and measured on a Mac."""
