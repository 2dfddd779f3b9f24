"""Names from an artefact, which may be any text, as identifiers and literals of C++, Python and Swift."""

from __future__ import annotations

import keyword
import re
import sys
from collections.abc import Iterable

from edgec.text import shown

_KEYWORDS = frozenset({
    "alignas", "alignof", "and", "and_eq", "asm", "auto", "bitand", "bitor", "bool", "break", "case", "catch", "char",
    "char16_t", "char32_t", "char8_t", "class", "co_await", "co_return", "co_yield", "compl", "concept", "const",
    "const_cast", "consteval", "constexpr", "constinit", "continue", "decltype", "default", "delete", "do", "double",
    "dynamic_cast", "else", "enum", "explicit", "export", "extern", "false", "float", "for", "friend", "goto", "if",
    "inline", "int", "long", "mutable", "namespace", "new", "noexcept", "not", "not_eq", "nullptr", "operator", "or",
    "or_eq", "private", "protected", "public", "register", "reinterpret_cast", "requires", "return", "short", "signed",
    "sizeof", "static", "static_assert", "static_cast", "struct", "switch", "template", "this", "thread_local", "throw",
    "true", "try", "typedef", "typeid", "typename", "union", "unsigned", "using", "virtual", "void", "volatile",
    "wchar_t", "while", "xor", "xor_eq",
}) | frozenset(keyword.kwlist)  # fmt: skip
_SWIFT_KEYWORDS = frozenset({
    "Any", "Protocol", "Self", "Type", "actor", "any", "associatedtype", "await", "defer", "deinit", "extension", "fallthrough",
    "fileprivate", "func", "guard", "init", "inout", "internal", "let", "nil", "open", "precedencegroup", "repeat", "rethrows",
    "self", "some", "subscript", "super", "throws", "var", "where",
    "name", "names", "allCases", "rawValue", "hash", "hashValue",
})  # fmt: skip
"""Those that neither C++ nor Python has, and what enumerations have of their own."""
_NAMESPACES = frozenset({
    "std", "ov", "onnx", "main", "linux", "unix", "posix", "build", "test", "src", "include", "artefact", "install", "log",
    "numpy", "onnxruntime", "openvino", "pil", "setuptools", "launch", "launch_ros", "config", "resource", "rclpy", "array",
    "sensor_msgs", "std_msgs", "vision_msgs", "diagnostic_msgs", "builtin_interfaces", "ament_index_python", "run_frames",
    "run_pipeline", "gi", "setup", "swift", "coreml", "corevideo", "cryptokit", "foundation", "xctest",
}) | sys.stdlib_module_names  # fmt: skip
"""Namespaces and packages of libraries, names that preprocessors, CMake and colcon have for themselves."""
_LONGEST = 60


def identifier(name: str, otherwise: str) -> str:
    """`name` with what C++ and Python allow; `otherwise` if nothing of it is. Two underscores in a row are the compiler's own."""
    text = re.sub(r"_+", "_", re.sub(r"[^A-Za-z0-9]", "_", name)).strip("_")[:_LONGEST].strip("_")
    if not text:
        return otherwise
    if text[0].isdigit():
        text = f"{otherwise.rstrip('0123456789_')}_{text}"
    return f"{text}_" if text in _KEYWORDS else text


def identifiers(names: Iterable[str], otherwise: str) -> list[str]:
    """One for each name, all different, in capitals too; those that would be alike, or that cannot be spelt, get their index."""
    taken: set[str] = set()
    spelt = []
    for index, name in enumerate(names):
        text = identifier(name, f"{otherwise}_{index}")
        while text.upper() in taken:
            text = f"{text}_{index}"
        taken.add(text.upper())
        spelt.append(text)
    return spelt


def namespace(name: str) -> str:
    """The project's namespace, folder, CMake project and ROS package, in lower case."""
    text = identifier(name.lower(), "model")
    # ROS takes no package whose name ends with an underscore, as keywords get one.
    return f"{text.rstrip('_')}_model" if text in _NAMESPACES or text.endswith("_") else text


def type_name(name: str, ending: str) -> str:
    """`floor` → `FloorClass`."""
    return "".join(part[:1].upper() + part[1:] for part in identifier(name, "Head").split("_")) + ending


def literal(text: str) -> str:
    """A string literal of exactly these characters, in UTF-8."""
    parts = []
    for byte in text.encode("utf-8", "surrogateescape"):
        character = chr(byte)
        # Octal: it ends after three digits, while hexadecimal would go on with the next letter.
        plain = 0x20 <= byte < 0x7F and character not in '"\\?'
        parts.append(character if plain else f"\\{byte:03o}")
    return f'"{"".join(parts)}"'


def python_literal(text: str) -> str:
    """A string of exactly these characters for Python, in ASCII."""
    return '"' + text.encode("unicode_escape").decode().replace('"', '\\"') + '"'


def swift_literal(text: str) -> str:
    """A string of exactly these characters for Swift, in ASCII. It has no halves of surrogates: they become U+FFFD."""
    parts = []
    for character in text.encode("utf-16", "surrogatepass").decode("utf-16", "replace"):
        plain = " " <= character <= "~" and character not in '"\\'
        parts.append(character if plain else f"\\u{{{ord(character):X}}}")
    return f'"{"".join(parts)}"'


def swift_name(name: str) -> str:
    """An identifier of `identifiers` as Swift can have it. None of those ends with an underscore unless it is a keyword."""
    return f"{name}_" if name in _SWIFT_KEYWORDS else name


def comment(text: object) -> str:
    """For a line's comment, or prose: on one line, short, and nothing that would end or continue the comment."""
    return re.sub(r"[\\`*|<>]", "", shown(text, 160)).replace("//", "/")


def cell(text: object) -> str:
    """For a cell of a Markdown table."""
    return re.sub(r"([\\`*|<>_\[\]])", r"\\\1", shown(text, 240))
