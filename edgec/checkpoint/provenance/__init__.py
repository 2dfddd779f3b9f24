"""Where weights come from, and what follows from it: licence and normalisation."""
