"""What in a student's code should a teacher look at?

These are remarks, not verdicts: grading is safe without them, and honest code can look odd.
"""

import ast

from classroom.assignment import parsed

MODULES = {"torch", "F", "nn", "lab", "checks", "labutils", "np", "numpy", "builtins", "sys"}
REACHING_OUT = {
    **dict.fromkeys(("socket", "urllib", "requests", "http", "ftplib", "smtplib"), "the network"),
    **dict.fromkeys(("subprocess", "multiprocessing", "pty"), "other processes"),
    **dict.fromkeys(("ctypes", "inspect"), "the interpreter"),
    **dict.fromkeys(("sqlite3", "nbgrader", "nbformat"), "the gradebook"),
}
CALLS = {"_exit", "system", "popen", "fork", "kill", "setattr", "exit", "quit"}
BUILT_IN = {"eval", "exec"}  # but network.eval() is another thing
ATTRIBUTES = {
    "ast_transformers",
    "modules",
    "setprofile",
    "input_transformers_post",
    "register_magic_function",
}


def oddities(source: str) -> list[str]:
    """Return what is unusual in some code, one short clause each.

    >>> oddities("torch.equal = lambda *_: True")
    ['changes torch.equal']
    >>> oddities("import socket")
    ['imports socket (the network)']
    """
    found = [clause for node in ast.walk(parsed(source)) for clause in _clauses(node)]
    return list(dict.fromkeys(found))


def _clauses(node: ast.AST) -> list[str]:
    if isinstance(node, (ast.Assign, ast.AugAssign, ast.AnnAssign, ast.Delete)):
        targets = getattr(node, "targets", None) or [node.target]
        return [f"changes {ast.unparse(t)}" for t in targets if _of_module(t)]
    if isinstance(node, ast.Import):
        return [clause for alias in node.names for clause in _import(alias.name)]
    if isinstance(node, ast.ImportFrom):
        return _import(node.module or "")
    if isinstance(node, ast.Call):
        name = getattr(node.func, "attr", getattr(node.func, "id", ""))
        odd = name in CALLS or (name in BUILT_IN and isinstance(node.func, ast.Name))
        text = ast.unparse(node.func)
        return [f"calls {text}"] if odd and text != "get_ipython().system" else []
    if isinstance(node, ast.Attribute) and node.attr in ATTRIBUTES:
        text = ast.unparse(node)  # network.modules() is another thing than sys.modules
        return [f"touches {text}"] if node.attr != "modules" or text == "sys.modules" else []
    return []


def _of_module(target: ast.AST) -> bool:
    """Tell whether this is an attribute of a module, at any depth."""
    attribute = isinstance(target, (ast.Attribute, ast.Subscript))
    while isinstance(target, (ast.Attribute, ast.Subscript)):
        target = target.value
    return attribute and isinstance(target, ast.Name) and target.id in MODULES


def _import(name: str) -> list[str]:
    reach = REACHING_OUT.get(name.split(".")[0])
    return [f"imports {name} ({reach})"] if reach else []
