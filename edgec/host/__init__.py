"""Facts about this machine: its CPU, cores, memory, container and sensors."""
