from coremltools.models.compiled import CompiledMLModel

__all__ = ["CompiledMLModel"]
