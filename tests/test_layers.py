"""Imports point down, and asking for help does not wait for torch."""

import ast
import functools
import re
import subprocess
import sys
from pathlib import Path

import pytest

from randhead import registry

ROOT = Path(registry.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))
NODES = {path: list(ast.walk(ast.parse(path.read_text()))) for path in FILES}  # of the syntax trees
# The packages of the design, lowest layer first: a package imports from its own layer and from those before it.
LAYERS = [
    {
        "ambient",
        "arguments",
        "arrays",
        "errors",
        "escapes",
        "families",
        "files",
        "intervals",
        "rng",
        "registry",
        "members",
        "significance",
        "user_files",
        "device",
        "jpeg_library",
        "tables",
    },
    {"config", "preprocess"},
    {"vectors", "losses", "augment", "corruptions", "analyses", "metrics"},
    {"datasets", "backbones", "head", "model", "checkup"},
    {"runs"},
    {"evaluation"},
    {"train", "robustness"},
    {"study"},
    {"report"},
    {"cli"},
    {"testing"},
    {"__main__"},
]
RANK = {name: rank for rank, layer in enumerate(LAYERS) for name in layer}
MATHS = LAYERS[2] | {"preprocess"}  # tensors in, tensors out: no configuration, no path, no run


def unit(path):
    """The module or family that a file belongs to."""
    return path.relative_to(ROOT).with_suffix("").parts[0]


@functools.cache
def imported(path):
    """The modules that a file imports, at its top or within a function, as tuples of names."""
    found = []
    for node in NODES[path]:
        if isinstance(node, ast.Import):
            found += [tuple(alias.name.split(".")) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: a relative import"
            found += [(*node.module.split("."), alias.name) for alias in node.names]
    return found


def exists(name):
    return (ROOT / f"{name}.py").is_file() or (ROOT / name).is_dir()


EDGES = [
    (path, target[1:])
    for path in FILES
    for target in imported(path)
    if target[0] == "randhead" and len(target) > 1 and exists(target[1])
]


def broken(rule):
    """The imports that break a rule, in words."""
    return [f"{path.relative_to(ROOT)}: {'.'.join(target)}" for path, target in EDGES if not rule(unit(path), target)]


def test_every_package_has_its_layer():
    assert {unit(path) for path in FILES} - {"__init__"} == set(RANK)


def test_imports_point_down():
    assert broken(lambda source, target: source == "__init__" or RANK[target[0]] <= RANK[source]) == []


def test_the_mathematics_sees_no_configuration_and_no_run():
    below = MATHS | LAYERS[0]
    assert broken(lambda source, target: source not in MATHS or target[0] in below) == []


def test_nobody_imports_the_command_line():
    assert broken(lambda source, target: target[0] != "cli" or source in ("cli", "__main__")) == []


def test_a_familys_helpers_are_its_own():
    def own(source, target):
        helper = len(target) > 1 and target[1].startswith("_") and (ROOT / target[0]).is_dir()
        return not helper or source == target[0]

    assert broken(own) == []


def test_imports_have_no_cycles():
    graph = {}
    for path, target in EDGES:
        if unit(path) != target[0]:
            graph.setdefault(unit(path), set()).add(target[0])
    done = set()

    def visit(name, above):
        assert name not in above, f"a cycle: {' -> '.join([*above, name])}"
        if name not in done:
            for other in sorted(graph.get(name, ())):
                visit(other, [*above, name])
            done.add(name)

    for name in sorted(graph):
        visit(name, [])


def test_only_the_command_line_knows_of_a_terminal():
    for path in FILES:
        if unit(path) != "cli":
            assert not {target[0] for target in imported(path)} & {"typer", "rich"}, path
        assert "click" not in {target[0] for target in imported(path)}, path


DECLARE_OPTIONS = {"config/schema.py", "config/setting.py", "study/jobs.py", "study/python_files.py"}  # commands


def test_no_module_but_the_command_line_names_an_option():
    """Hints of the library name arguments, `fresh=True`; cli/hints.py makes options of them.  Commands may be named."""
    command, option = re.compile(r"`randhead [^`]*`"), re.compile(r"(?<![\w(-])--[a-z]")
    found = {
        str(path.relative_to(ROOT))
        for path in FILES
        if unit(path) != "cli"
        for node in NODES[path]
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
        if option.search(command.sub("", node.value))
    }
    assert found <= DECLARE_OPTIONS


def test_nothing_is_pickled_unpickled_or_evaluated():
    for path in FILES:
        assert not {target[0] for target in imported(path)} & {"pickle", "dill", "joblib", "shelve"}, path
        calls = {ast.unparse(node.func) for node in NODES[path] if isinstance(node, ast.Call)}
        assert not calls & {"eval", "exec", "torch.load", "torch.save", "__import__"}, path


def test_the_package_imports_nothing_that_only_posix_has():
    """On Windows there is no fcntl, where a lock is another one, and no resource, pwd, grp, termios or tty."""
    modules = {"fcntl", "resource", "pwd", "grp", "termios", "tty", "pty", "syslog", "posix"}
    for path in FILES:
        allowed = {"fcntl"} if path == ROOT / "runs" / "lock.py" else set()
        assert not {target[0] for target in imported(path)} & modules - allowed, path


QUESTIONS = {
    "the package": "import randhead",
    "its names": "import randhead; dir(randhead)",
    "the registry": "from randhead import registry; registry.names('vectors')",
    "the settings": "from randhead.config import parse, recipes; parse.build(recipes.settings({}))",
    "help": "main('--help')",
    "the help of train": "main('train', '--help')",
    "the help of every command": "[main(c, '--help') for c in ('evaluate', 'study', 'vectors', 'predict', 'list')]",
    "all settings": "main('train', '--settings')",
    "the version": "main('--version')",
    "an unknown command": "main('tarin')",
    "a folder that is not there": "main('train', '--data', 'nowhere'); main('train', '--data', './nowhere')",
    "an unknown backbone": "main('train', '--backbone', 'resnet81')",
    "an unknown geometry": "main('train', '--vectors', 'unifrom')",
    "an unknown setting": "main('train', '--set', 'optim.lrr=1')",
    "a run that is not there": "[main(*c) for c in (('eval',), ('corrupt-test', 'no'), ('predict', 'no', 'x.png'))]",
    "an unknown analysis": "main('analyze', 'seperability')",
    "what a study says": "main('study', '--explain'); main('study', '--arms', 'fixed'); main('study', 'nothing')",
    "the runs of a study": "main('study', '--tune', 'optim.lr=0.1,0.2', '--print-commands')",
    "the runs": "make_run(); main('list'); main('list', '--json')",
}
MAIN = """
import sys
def main(*words):
    from randhead import cli
    sys.argv = ["randhead", *words]
    try:
        cli.main()
    except SystemExit as ended:
        assert ended.code != 1, "a bug"
def make_run():
    import json, pathlib
    run = pathlib.Path("runs/one")
    (run / "checkpoints").mkdir(parents=True)
    (run / "checkpoints" / "step-00000003.safetensors").touch()
    (run / "config.json").write_text("{}")
    (run / "summary.json").write_text(json.dumps({"test": {"accuracy": 1}, "val": {"accuracy": 1}, "selected": {}}))
"""


@pytest.mark.slow
def test_a_question_is_answered_without_torch(tmp_path):
    """All in one process: what one imports, the next does not need to."""
    check = "assert not {'torch', 'numpy'} & sys.modules.keys(), "
    code = "\n".join([MAIN, *(f"{question}\n{check}{name!r}" for name, question in QUESTIONS.items())])
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


SLOW_TO_IMPORT = {  # on two CPU cores each takes 0.2 to 1.3 s, and up to 150 MiB
    "torch._dynamo": set(),
    "torchvision": {"backbones/torchvision.py", "corruptions/_transform.py"}
    | {f"datasets/{name}.py" for name in ("cifar10", "cifar100", "fashion_mnist", "mnist", "stl10", "svhn")},
    "sklearn": {"report/projections.py"},
    "scipy": set(),
    "matplotlib": set(),
    "triton": {f"losses/kernels/{path.name}" for path in (ROOT / "losses" / "kernels").glob("*.py")},
}


def at_the_top(body):
    """The modules that statements import when their file is imported."""
    for node in body:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module
        elif isinstance(node, ast.If | ast.Try) and "TYPE_CHECKING" not in ast.unparse(node)[:20]:
            yield from at_the_top([*node.body, *node.orelse])


def test_libraries_that_few_commands_need_are_imported_where_they_are_used():
    for path in FILES:
        for name in at_the_top(ast.parse(path.read_text()).body):
            slow = next((slow for slow in SLOW_TO_IMPORT if f"{name}.".startswith(f"{slow}.")), None)
            file = path.relative_to(ROOT).as_posix()
            assert slow is None or file in SLOW_TO_IMPORT[slow], f"{file} imports {name} at its top"


TRAINED = """
import sys
from randhead import evaluation, train
from randhead.config import parse
def check(step):
    loaded = {"torchvision", "sklearn", "scipy", "matplotlib", "torch._dynamo", "triton", "sympy"} & sys.modules.keys()
    assert not loaded, f"{step} imports {loaded}"
evaluation.evaluate, evaluation.predict, evaluation.analyze, train.fit
check("importing the verbs")
run = train.fit(parse.configure({"train.epochs": 1})).run
check("training")
from PIL import Image
Image.new("RGB", (8, 8)).save("black.png")
evaluation.predict("black.png", run)
check("prediction")
evaluation.evaluate(run)
check("evaluation")
"""


@pytest.mark.slow
def test_training_evaluating_and_predicting_import_no_library_that_they_do_not_use(tmp_path):
    """On the digits, with the small network, on the CPU."""
    command = [sys.executable, "-c", TRAINED]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_a_command_that_ends_does_not_collect_the_garbage_of_torch():
    code = f"{MAIN}\nimport atexit, gc\natexit.register(lambda: print(gc.get_freeze_count()))\nmain('--version')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout.split()[-1]) > 0
