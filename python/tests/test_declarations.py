"""What type checkers are told of the package is what it has."""

import ast
import sys

from conftest import runtime

sys.path.append(str(runtime()))

import bireme  # noqa: E402

DECLARED = ast.parse((runtime() / "bireme/__init__.pyi").read_text()).body
# What the stubs of `bireme types` describe functions of JavaScript by; nothing of it is there at run time.
DESCRIPTIONS = {"JsFunction", "JsObject", "JsStream", "JsStreamFunction", "JsValue", "js_function", "js_stream"}


def declared():
    return {node.name: node for node in DECLARED if isinstance(node, (ast.ClassDef, ast.FunctionDef))}


def test_the_package_says_that_it_has_types():
    assert (runtime() / "bireme/py.typed").exists()


def test_every_export_is_declared_and_nothing_else():
    assert set(declared()) - DESCRIPTIONS == set(bireme.__all__)
    assert not DESCRIPTIONS & set(bireme.__all__)


def test_classes_are_declared_with_the_bases_that_they_have():
    for name, node in declared().items():
        real = getattr(bireme, name, None)
        assert isinstance(real, type) == isinstance(node, ast.ClassDef) or name in DESCRIPTIONS, name
        for base in node.bases if isinstance(node, ast.ClassDef) and name not in DESCRIPTIONS else ():
            known = {one.__name__ for one in real.__mro__}
            assert base.id in known, f"{name} is declared as {base.id}, and is {known}"


def test_methods_and_parameters_are_declared_as_they_are():
    for name, node in declared().items():
        if name in DESCRIPTIONS:
            continue
        real = getattr(bireme, name)
        if isinstance(node, ast.FunctionDef):
            check_parameters(name, node, real)
            continue
        for method in node.body:
            if isinstance(method, ast.FunctionDef) and not method.name.startswith("__"):
                assert hasattr(real, method.name), f"{name}.{method.name}"
                if not isinstance(getattr(real, method.name), property):
                    check_parameters(f"{name}.{method.name}", method, getattr(real, method.name))


def check_parameters(name, node, function):
    arguments = node.args
    code = function.__code__
    real = set(code.co_varnames[: code.co_argcount + code.co_kwonlyargcount])
    said = {argument.arg for argument in [*arguments.args, *arguments.kwonlyargs]}
    assert said == real, f"{name} is declared with {said}, and has {real}"
