"""Parses Swift files, and the Swift blocks of Markdown files: parse_swift.py FILE..."""

import re
import sys

import tree_sitter_swift
from tree_sitter import Language, Parser

# The modules of a plain Swift installation on Linux.
EVERYWHERE = {"Attamba", "CAttamba", "Dispatch", "Foundation", "PackageDescription", "XCTest"}


def texts(path):
    """The Swift in a file, with the number of the line before it."""
    content = open(path, encoding="utf-8").read()
    if not path.endswith(".md"):
        yield 0, content
        return
    for block in re.finditer(r"^```swift\n(.*?)^```", content, re.DOTALL | re.MULTILINE):
        yield content.count("\n", 0, block.start(1)), block.group(1)


def errors(node):
    """The nodes that could not be parsed."""
    if node.type == "ERROR" or node.is_missing:
        yield node
    else:
        for child in node.children:
            yield from errors(child)


def bare_imports(text):
    """Imports that are not available on every system, outside of #if."""
    depth = 0
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith("#if"):
            depth += 1
        elif line.startswith("#endif"):
            depth -= 1
        found = re.match(r"(?:@\w+ )?import (\w+)", line)
        if found and depth == 0 and found.group(1) not in EVERYWHERE:
            yield number, found.group(1)


def main():
    parser = Parser(Language(tree_sitter_swift.language()))
    failed = False
    for path in sys.argv[1:]:
        for before, text in texts(path):
            tree = parser.parse(text.encode())
            for node in errors(tree.root_node):
                failed = True
                print(f"{path}:{before + node.start_point[0] + 1}: does not parse: {node.text[:60]}")
            for line, name in bare_imports(text):
                failed = True
                print(f"{path}:{before + line}: imports {name} outside of #if")
    sys.exit(failed)


if __name__ == "__main__":
    main()
