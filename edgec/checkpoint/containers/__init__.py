"""Bytes on disk to named tensors: torch's zip archive, its older format, and safetensors. Nothing in a file is run."""
