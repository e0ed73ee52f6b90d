"""What in a student's code should a teacher look at?

These are remarks, not verdicts: grading is safe without them, and honest code can look odd.
"""

import ast
import re

from classroom.assignment import parsed

TEXTS = (ast.Attribute, ast.Subscript, ast.Call)
OF_MODULE = re.compile(r"(torch|F|nn|lab|checks|labutils|np|numpy|builtins|sys)[.\[][^(]*")
REACHING_OUT = {
    **dict.fromkeys(("socket", "urllib", "requests", "http", "ftplib", "smtplib"), "the network"),
    **dict.fromkeys(("subprocess", "multiprocessing", "pty"), "other processes"),
    **dict.fromkeys(("ctypes", "inspect"), "the interpreter"),
    **dict.fromkeys(("sqlite3", "nbgrader", "nbformat"), "the gradebook"),
}
CALLS = {"_exit", "system", "popen", "fork", "kill", "setattr", "exit", "quit"}
BUILT_IN = {"eval", "exec"}  # but network.eval() is another thing
HOOKS = {"ast_transformers", "setprofile", "input_transformers_post", "register_magic_function"}


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
    text = ast.unparse(getattr(node, "func", node)) if isinstance(node, TEXTS) else ""
    match node:
        case ast.Attribute() | ast.Subscript() if not isinstance(node.ctx, ast.Load):
            return [f"changes {text}"] if OF_MODULE.fullmatch(text) else []
        case ast.Import() | ast.ImportFrom():
            names = [getattr(node, "module", None) or alias.name for alias in node.names]
            reached = [(name, REACHING_OUT.get(name.split(".")[0])) for name in names]
            return [f"imports {name} ({reach})" for name, reach in reached if reach]
        case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name)):
            odd = name in CALLS or text in BUILT_IN
            return [f"calls {text}"] if odd and text != "get_ipython().system" else []
        case ast.Attribute(attr=name) if name in HOOKS or text == "sys.modules":
            return [f"touches {text}"]
    return []
