"""Whose names the tensors of a file have (Meta's, Hugging Face's, timm's), and which of its backbones is meant."""
