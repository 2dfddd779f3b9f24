"""Code beside the model: a project for one artefact, written from the templates of its family (`targets/*/robot`).

| module | what |
| --- | --- |
| `languages` | which languages there are |
| `generating` | `generate`: what `edgec code` does |
| `model` | the graph of the artefact that the project is for, with its files |
| `contract` | what templates are told about it |
| `identifiers` | names that C++ can have |
| `rendering` | templates → text |
| `golden` | the golden frames as files without headers |
| `writing` | the project appears whole, and nobody's changes are lost |
"""
