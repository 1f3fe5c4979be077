"""Says which import paths lead nowhere, without running any of their code.

Reads {"folder": path or null, "imports": ["module:attribute", ...]} from stdin, and writes a list of
{"import_path": ..., "rule": ..., "known": [names in its place]} to stdout. Folder comes before what Python has installed.
"""

import ast
import importlib.machinery
import json
import sys


def find_module(name, paths):
    """The spec of a dotted module, found part by part: importing a parent would run its code."""
    spec = None
    for part in name.split("."):
        spec = importlib.machinery.PathFinder.find_spec(part, paths)
        if spec is None:
            return None
        paths = spec.submodule_search_locations or []
    return spec


def names_of(source):
    """Top-level names of a module, or None where they are only known when it runs."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and any(alias.name == "*" for alias in node.names):
            return None
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            names.add(node.name)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            names.update((alias.asname or alias.name).split(".")[0] for alias in node.names)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
    return None if "__getattr__" in names else names


def problem_of(import_path, paths):
    separator = ":" if ":" in import_path else "."
    module, _, attribute = import_path.rpartition(separator)
    spec = find_module(module, paths)
    if spec is None:
        return {"rule": f"no module {module} is there", "known": []}
    if not (spec.origin or "").endswith(".py"):
        return None
    try:
        with open(spec.origin, encoding="utf-8") as file:
            names = names_of(file.read())
    except SyntaxError as error:
        return {"rule": f"module {module} is not valid Python: {error.msg} (line {error.lineno})", "known": []}
    first = attribute.split(".")[0]
    if names is None or first in names:
        return None
    return {"rule": f"module {module} has no {first}", "known": sorted(names)}


def main():
    asked = json.load(sys.stdin)
    paths = ([asked["folder"]] if asked["folder"] else []) + sys.path[1:]
    found = [(path, problem_of(path, paths)) for path in asked["imports"]]
    json.dump([{"import_path": path, **problem} for path, problem in found if problem], sys.stdout)


main()
