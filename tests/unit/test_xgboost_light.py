"""XGBoost without scikit-learn: the same scores, nothing else brought along, and scikit-learn still to be had."""

import subprocess
import sys

import numpy as np

CODE = """
import sys
from bentos.light import import_xgboost
import_xgboost()
import_xgboost()
assert not {"sklearn", "scipy.stats"} & set(sys.modules)
import numpy as np
import xgboost as xgb
random = np.random.default_rng(0)
x_NF, y_N = random.normal(size=(200, 3)).astype(np.float32), random.integers(0, 2, 200)
trees = xgb.train({"nthread": 1, "max_depth": 3}, xgb.DMatrix(x_NF, label=y_N), 5)
parts_NF = trees.predict(xgb.DMatrix(x_NF), pred_contribs=True)
print(*trees.inplace_predict(x_NF)[:5].tolist(), *parts_NF[0].tolist())
from sklearn.linear_model import LogisticRegression
LogisticRegression().fit(x_NF, y_N)
"""


def test_xgboost_comes_alone_and_answers_as_ever() -> None:
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    import xgboost as xgb

    random = np.random.default_rng(0)
    x_NF, y_N = random.normal(size=(200, 3)).astype(np.float32), random.integers(0, 2, 200)
    trees = xgb.train({"nthread": 1, "max_depth": 3}, xgb.DMatrix(x_NF, label=y_N), 5)
    parts_NF = trees.predict(xgb.DMatrix(x_NF), pred_contribs=True)
    assert [float(one) for one in done.stdout.split()] == [
        *trees.inplace_predict(x_NF)[:5].tolist(),
        *parts_NF[0].tolist(),
    ]


def test_where_scikit_learn_is_there_already_it_stays() -> None:
    code = "import sklearn, sys; from bentos.light import import_xgboost; import_xgboost()"
    subprocess.run([sys.executable, "-c", f"{code}; assert sys.modules['sklearn'] is sklearn"], check=True)
