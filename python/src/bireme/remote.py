"""`node("./render.js").page`: functions of JavaScript modules, for Python."""

import os
import sys

from ._native import Function, encode_value


class Module:
    """A module of the other language. Its attributes are its exports: functions, classes, values."""

    def __init__(self, key, question, shown):
        self.__dict__.update(key=key, question=question, _shown=shown, _functions={})

    def function(self, name):
        """The export with this dotted name."""
        function = self._functions.get(name)
        if function is None:
            question = self.question
            place = {"file": question["file"]} if "file" in question else {"module": question["module"]}
            function = self._functions[name] = Function(self, encode_value({**place, "name": name}), name)
        return function

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return self.function(name)

    def __getitem__(self, name):
        return self.function(name)

    def __repr__(self):
        return f"<{self.question['language']} module {self._shown}>"


_MODULES = {}


def node(name, *, service=None):
    """The JavaScript module `name`: a path that begins with `./`, `../` or `/`, relative to the calling file, or a package's name.

    `service` names the service that runs it, if it is not the one whose folder holds it.
    """
    name = os.fspath(name)
    if name.startswith(("./", "../", "/")) or name in (".", ".."):
        question = {"file": os.path.normpath(os.path.join(_folder_of_caller(), name))}
    else:
        question = {"module": name}
    question = {"language": "node", **question}
    if service is not None:
        question["service"] = service
    key = tuple(sorted(question.items()))
    module = _MODULES.get(key)
    if module is None:
        module = _MODULES[key] = Module(key, question, name)
    return module


def _folder_of_caller():
    file = sys._getframe(2).f_globals.get("__file__")
    # What is typed into an interpreter is in no file.
    return os.path.dirname(os.path.abspath(file)) if file else os.getcwd()
