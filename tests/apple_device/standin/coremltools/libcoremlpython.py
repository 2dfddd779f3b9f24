"""In place of the compiled part that speaks to Core ML. That it is no shared library is what gives the stand-in away."""
