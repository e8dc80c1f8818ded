"""Checks the syntax of Kotlin files and scripts."""

import sys

import tree_sitter
import tree_sitter_kotlin

parser = tree_sitter.Parser(tree_sitter.Language(tree_sitter_kotlin.language()))
failed = False
for path in sys.argv[1:]:
    with open(path, "rb") as file:
        tree = parser.parse(file.read())
    pending = [tree.root_node]
    while pending:
        node = pending.pop()
        if node.is_error or node.is_missing:
            failed = True
            row, column = node.start_point
            print(f"{path}:{row + 1}:{column + 1}: syntax error", file=sys.stderr)
        elif node.has_error:
            pending.extend(node.children)
sys.exit(failed)
