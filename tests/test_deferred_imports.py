"""River works the same when its imports of scipy are deferred, and nobody else notices."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def run(*arguments: str) -> None:
    subprocess.run([sys.executable, *arguments], cwd=ROOT, check=True, timeout=240)


def test_every_model_gives_equal_scores_and_loads_with_and_without_deferred_imports(
    tmp_path: Path,
) -> None:
    eager, deferred, again = (str(tmp_path / name) for name in ("eager", "deferred", "again"))
    run("-m", "tests.river_models", "eager", eager)
    run("-m", "tests.river_models", "deferred", deferred, eager)
    run("-m", "tests.river_models", "eager", again, deferred)


@pytest.mark.parametrize("first", ["import stream_app.loading", "import river.tree", ""])
def test_a_pipeline_that_imports_from_scipy_gets_the_real_thing(first: str, tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(
        "from scipy.stats import norm\n"
        "import scipy.stats\n"
        "from river import bandit, linear_model, tree\n"
        "import stream_app\n"
        "from scipy import stats\n"
        "from scipy.stats import norm as later\n"
        "assert norm is later is scipy.stats.norm is stats.norm\n"
        "assert type(norm).__module__ == 'scipy.stats._continuous_distns'\n"
        "assert norm.cdf(0.0) == 0.5\n"
    )
    run("-c", f"import sys; sys.path.append({str(tmp_path)!r})\n{first}\nimport own")


def test_loading_pipelines_imports_no_statistics() -> None:
    run("-c", "import sys, stream_app.loading\nassert 'scipy.stats' not in sys.modules")


def test_parts_of_river_that_use_scipy_import_it_when_they_are_used() -> None:
    run(
        "-c",
        "import sys, stream_app\n"
        "from river import drift, metrics, proba, tree\n"
        "heavy = {'scipy.integrate', 'scipy.io', 'scipy.sparse', 'scipy.special', 'scipy.stats'}\n"
        "assert not heavy & set(sys.modules)\n"
        "metric = metrics.GeometricMean()\n"
        "for truth, found in zip([1, 0, 1, 1], [1, 0, 0, 1]): metric.update(truth, found)\n"
        "import scipy.stats\n"
        "assert metric.get() == scipy.stats.gmean([2 / 3, 1.0])\n"
        "detector = drift.KSWIN(seed=1)\n"
        "for number in range(400): detector.update(float(number > 300) + number % 7 / 10)\n"
        "area = metrics.ROCAUC()\n"
        "for truth, found in zip([1, 0, 1, 0], [0.9, 0.1, 0.4, 0.6]): area.update(truth, found)\n"
        "assert 0.7 < area.get() < 0.8\n",
    )


def test_threads_that_import_at_the_same_time_get_real_modules() -> None:
    run(
        "-c",
        "import stream_app, threading\n"
        "from importlib import import_module\n"
        "def norm():\n"
        "    module = import_module('scipy.stats')\n"
        "    found.append((type(module).__name__, module.norm.cdf(0.0)))\n"
        "def river(name):\n"
        "    found.append(('module', 0.5)) if import_module(f'river.{name}') else None\n"
        "found = []\n"
        "threads = [threading.Thread(target=norm) for _ in range(4)]\n"
        "for name in ('tree', 'drift', 'metrics', 'proba'):\n"
        "    threads.append(threading.Thread(target=river, args=(name,)))\n"
        "for thread in threads: thread.start()\n"
        "for thread in threads: thread.join(60)\n"
        "assert found == [('module', 0.5)] * 8, found\n",
    )


def test_a_worker_imports_neither_trees_nor_coloured_tracebacks() -> None:
    run(
        "-c",
        "import rich.console, sys\n"
        "import stream_app.worker.startup\n"
        "from river import linear_model, preprocessing\n"
        "unwanted = {'pygments', 'rich.traceback', 'river.tree'}\n"
        "assert not unwanted & set(sys.modules), unwanted & set(sys.modules)\n"
        "import rich, rich.traceback\n",
    )


def test_random_trees_of_river_work_with_deferred_imports() -> None:
    run(
        "-c",
        "import stream_app\n"
        "from river import feature_extraction\n"
        "limits = {'a': (0.0, 2.0)}\n"
        "trees = feature_extraction.RandomTreesEmbedding(2, height=1, limits=limits, seed=1)\n"
        "trees.learn_one({'a': 1.0})\n"
        "assert trees.transform_one({'a': 1.0})\n",
    )


def test_a_worker_imports_no_http_client_until_one_is_used() -> None:
    run(
        "-c",
        "import sys, stream_app.cli.worker, faust\n"
        "from faust.types.web import HttpClientT\n"
        "app = faust.App('none', HttpClient=HttpClientT)\n"
        "assert app.conf.HttpClient is HttpClientT\n"
        "assert not {'aiohttp.client', 'rich.console'} & set(sys.modules)\n"
        "import aiohttp\n"
        "assert HttpClientT.get is aiohttp.ClientSession.get\n",
    )
