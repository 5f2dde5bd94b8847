"""Kafka clients are created and closed in one module only."""

import ast
from collections.abc import Iterator

from tests.structure.sources import Source, sources

CLIENTS = {"Consumer", "Producer", "AdminClient"}
OWNER = "stream_app/kafka/clients.py"
# Through these modules' attributes a client could be created under another name.
MODULES = {"confluent_kafka", "confluent_kafka.admin"}


def calls(source: Source) -> Iterator[ast.Call]:
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Call):
            yield node


def clients_imported(source: Source) -> set[str]:
    """Return the local names of confluent_kafka's clients."""
    return {
        alias.asname or alias.name
        for node in ast.walk(source.tree)
        if isinstance(node, ast.ImportFrom) and node.module in MODULES
        for alias in node.names
        if alias.name in CLIENTS
    }


def client_attributes(source: Source) -> set[str]:
    """Return names and attributes that are assigned or annotated as a client in a file."""
    names = clients_imported(source)
    found = set()
    for node in ast.walk(source.tree):
        match node:
            case ast.AnnAssign(target=target, annotation=ast.Name(id=name)) if name in names:
                found.add(ast.unparse(target))
            case ast.arg(arg=argument, annotation=ast.Name(id=name)) if name in names:
                found.add(argument)
            case ast.Assign(targets=[target], value=ast.Call(func=ast.Name(id=name))):
                if name.startswith("make_") and name.split("_")[-1] in (
                    "consumer",
                    "producer",
                    "admin",
                ):
                    found.add(ast.unparse(target))
            case ast.Assign(targets=[target], value=ast.Attribute(attr="client")):
                found.add(ast.unparse(target))
    return found


def test_one_module_creates_kafka_clients() -> None:
    found = [
        f"{source}:{call.lineno} creates a {call.func.id}"
        for source in sources("stream_app")
        if str(source) != OWNER
        for call in calls(source)
        if isinstance(call.func, ast.Name) and call.func.id in clients_imported(source)
    ]
    assert not found, "\n".join(found)


def test_no_file_names_the_module_of_the_clients() -> None:
    found = [
        f"{source}:{node.lineno} imports {alias.name}"
        for source in sources("stream_app")
        for node in ast.walk(source.tree)
        if isinstance(node, ast.Import)
        for alias in node.names
        if alias.name in MODULES
    ]
    assert not found, "\n".join(found)


def test_one_module_closes_kafka_clients() -> None:
    found = [
        f"{source}:{call.lineno} closes {ast.unparse(call.func.value)}"
        for source in sources("stream_app")
        if str(source) != OWNER
        for call in calls(source)
        if isinstance(call.func, ast.Attribute)
        and call.func.attr == "close"
        and ast.unparse(call.func.value) in client_attributes(source)
    ]
    assert not found, "\n".join(found)


def test_the_check_finds_clients_that_are_closed() -> None:
    text = """
from confluent_kafka import Consumer
class Reader:
    def __init__(self, given: Consumer) -> None:
        self._consumer = make_consumer(settings)
        self._other: Consumer = given
        self._owned = owner.client
"""
    source = Source(sources("stream_app")[0].path, text, ast.parse(text))
    assert client_attributes(source) == {
        "given",
        "self._consumer",
        "self._other",
        "self._owned",
    }
