"""CPUs: what is built runs, and is measured, on the machine that builds."""
