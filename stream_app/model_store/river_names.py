"""Names in artifacts of River's models, exactly, found by training each model.

A pickle can call whatever it names, so the tables contain nothing that reaches files, processes,
modules or attributes by name. A test builds every family and compares.
"""

from typing import NamedTuple

# Module and qualified name.
Name = tuple[str, str]
# Names, separated by blanks, by module.
_Table = dict[str, str]
# Reason and remedy.
Rejection = tuple[str, str]


class RequiredPart(NamedTuple):
    """Part that a model must be given, and the rejection of a model without it."""

    part: Name
    otherwise: Rejection


class Family(NamedTuple):
    """Models of one kind.

    Attributes:
        models: models of the family.
        parts: classes that these consist of.
        uses: keys of further `GROUPS` that they use.
    """

    models: _Table
    # A default that nobody changes.
    parts: _Table = {}  # noqa: RUF012
    uses: tuple[str, ...] = ()


GROUPS: dict[str, _Table] = {
    "values": {
        "builtins": (
            "bool bytearray bytes complex dict float frozenset int list object range set slice "
            "str tuple"
        ),
        "collections": "Counter OrderedDict defaultdict deque",
        # `deepcopy` and `partial` call only what can be named here.
        "copy": "deepcopy",
        "datetime": "date datetime time timedelta timezone",
        "functools": "partial",
        "numbers": "Number",
        "numpy": "dtype ndarray",
        "numpy._core.multiarray": "_reconstruct scalar",
        "numpy._core.numeric": "_frombuffer",
        "random": "Random",
        "river._river_rust.vectordict": "VectorDict",
    },
    "transformers": {
        "river.compose.grouper": "Grouper",
        "river.compose.pipeline": "Pipeline",
        "river.compose.product": "TransformerProduct",
        "river.compose.renamer": "Prefixer Suffixer",
        "river.compose.select": "Discard Select SelectType",
        "river.compose.union": "TransformerUnion",
        "river.feature_extraction.agg": "Agg TargetAgg",
        "river.feature_extraction.kernel_approx": "RBFSampler",
        "river.feature_extraction.poly": "PolynomialExtender",
        "river.feature_selection.k_best": "SelectKBest",
        "river.feature_selection.random": "PoissonInclusion",
        "river.feature_selection.variance": "VarianceThreshold",
        "river.preprocessing.feature_hasher": "FeatureHasher",
        "river.preprocessing.impute": "PreviousImputer StatImputer",
        "river.preprocessing.one_hot": "OneHotEncoder",
        "river.preprocessing.ordinal": "OrdinalEncoder",
        "river.preprocessing.random_projection": "GaussianRandomProjector SparseRandomProjector",
        "river.preprocessing.scale": (
            "AdaptiveStandardScaler Binarizer MaxAbsScaler MinMaxScaler Normalizer RobustScaler "
            "StandardScaler"
        ),
        "river.utils.rolling": "Rolling TimeRolling",
        "stream_app.transformers": "Pick TargetRate",
    },
    "statistics": {
        "river._river_rust.stats": "RsEWMean RsEWVar RsIQR RsQuantile",
        "river.stats.count": "Count",
        "river.stats.cov": "Cov",
        "river.stats.ewmean": "EWMean",
        "river.stats.ewvar": "EWVar",
        "river.stats.iqr": "IQR",
        "river.stats.maximum": "AbsMax Max RollingAbsMax RollingMax",
        "river.stats.mean": "BayesianMean Mean",
        "river.stats.minimum": "Min RollingMin",
        "river.stats.pearson": "PearsonCorr",
        "river.stats.quantile": "Quantile RollingQuantile",
        "river.stats.summing": "Sum",
        "river.stats.var": "Var",
        "river.utils.sorted_window": "SortedWindow",
    },
    "optimizers": {
        "numpy.random._mt19937": "MT19937",
        "numpy.random._pickle": "__bit_generator_ctor __randomstate_ctor",
        "river.optim.ada_bound": "AdaBound",
        "river.optim.ada_delta": "AdaDelta",
        "river.optim.ada_grad": "AdaGrad",
        "river.optim.ada_max": "AdaMax",
        "river.optim.adam": "Adam",
        "river.optim.ams_grad": "AMSGrad",
        "river.optim.average": "Averager",
        "river.optim.ftrl": "FTRLProximal",
        "river.optim.initializers": "Constant Normal Zeros",
        "river.optim.losses": (
            "Absolute BinaryFocalLoss Cauchy CrossEntropy EpsilonInsensitiveHinge Hinge Huber Log "
            "Poisson Quantile Squared"
        ),
        "river.optim.momentum": "Momentum",
        "river.optim.nadam": "Nadam",
        "river.optim.nesterov": "NesterovMomentum",
        "river.optim.rms_prop": "RMSProp",
        "river.optim.schedulers": "Constant InverseScaling Optimal",
        "river.optim.sgd": "SGD",
    },
    "detectors": {
        "river._river_rust.drift": "AdaptiveWindowing",
        "river.drift.adwin": "ADWIN",
        "river.drift.binary.ddm": "DDM",
        "river.drift.binary.eddm": "EDDM",
        "river.drift.binary.fhddm": "FHDDM",
        "river.drift.binary.hddm_a": "HDDMA",
        "river.drift.binary.hddm_w": "HDDMW SampleInfo",
        "river.drift.kswin": "KSWIN",
        "river.drift.no_drift": "NoDrift",
        "river.drift.page_hinkley": "PageHinkley",
    },
    "measures": {
        "river.metrics.accuracy": "Accuracy",
        "river.metrics.confusion": "ConfusionMatrix",
        "river.metrics.mae": "MAE",
        "river.metrics.mse": "MSE",
    },
    "trees": {
        "river.proba.gaussian": "Gaussian",
        "river.sketch.histogram": "Bin Histogram",
        "river.tree.nodes.branch": "NominalBinaryBranch NominalMultiwayBranch NumericBinaryBranch "
        "NumericMultiwayBranch",
        "river.tree.nodes.htc_nodes": "LeafMajorityClass LeafNaiveBayes LeafNaiveBayesAdaptive",
        "river.tree.nodes.htr_nodes": "LeafAdaptive LeafMean LeafModel",
        "river.tree.splitter.exhaustive_splitter": "ExhaustiveNode ExhaustiveSplitter",
        "river.tree.splitter.gaussian_splitter": "GaussianSplitter",
        "river.tree.splitter.histogram_splitter": "HistogramSplitter",
        "river.tree.splitter.nominal_splitter_classif": "NominalSplitterClassif",
        "river.tree.splitter.nominal_splitter_reg": "NominalSplitterReg "
        "NominalSplitterReg._update_estimator_univariate",
        "river.tree.splitter.qo_splitter": "FeatureQuantizer QOSplitter Slot",
    },
}

FAMILIES: dict[str, Family] = {
    "baseline": Family({"river.dummy": "NoChangeClassifier PriorClassifier StatisticRegressor"}),
    "linear": Family(
        {
            "river.linear_model.ad_predictor": "AdPredictor",
            "river.linear_model.alma": "ALMAClassifier",
            "river.linear_model.bayesian_lin_reg": "BayesianLinearRegression",
            "river.linear_model.lin_reg": "LinearRegression",
            "river.linear_model.log_reg": "LogisticRegression",
            "river.linear_model.pa": "PAClassifier PARegressor",
            "river.linear_model.perceptron": "Perceptron",
            "river.linear_model.softmax": "SoftmaxRegression",
        },
        uses=("optimizers",),
    ),
    "factorization": Family(
        {
            "river.facto.ffm": "FFMClassifier FFMRegressor",
            "river.facto.fm": "FMClassifier FMRegressor",
            "river.facto.fwfm": "FwFMClassifier FwFMRegressor",
            "river.facto.hofm": "HOFMClassifier HOFMRegressor",
        },
        uses=("optimizers",),
    ),
    "naive-bayes": Family(
        {
            "river.naive_bayes.bernoulli": "BernoulliNB",
            "river.naive_bayes.complement": "ComplementNB",
            "river.naive_bayes.gaussian": "GaussianNB",
            "river.naive_bayes.multinomial": "MultinomialNB",
        },
        {
            "river.naive_bayes.gaussian": "GaussianNB._make_gaussian",
            "river.proba.gaussian": "Gaussian",
        },
    ),
    "neighbours": Family(
        {
            "river.neighbors.knn_classifier": "KNNClassifier",
            "river.neighbors.knn_regressor": "KNNRegressor",
        },
        {
            "river._river_rust.vectordict": "euclidean_distance_tuple",
            "river.neighbors.ann.nn_vertex": "Vertex",
            "river.neighbors.ann.swinn": "SWINN",
            "river.neighbors.lazy": "LazySearch",
        },
    ),
    "hoeffding-tree": Family(
        {
            "river.tree.extremely_fast_decision_tree": "ExtremelyFastDecisionTreeClassifier",
            "river.tree.hoeffding_adaptive_tree_classifier": "HoeffdingAdaptiveTreeClassifier",
            "river.tree.hoeffding_adaptive_tree_regressor": "HoeffdingAdaptiveTreeRegressor",
            "river.tree.hoeffding_tree_classifier": "HoeffdingTreeClassifier",
            "river.tree.hoeffding_tree_regressor": "HoeffdingTreeRegressor",
            "river.tree.last_classifier": "LASTClassifier",
        },
        {
            "river.tree.nodes.efdtc_nodes": (
                "EFDTLeafMajorityClass EFDTLeafNaiveBayes EFDTLeafNaiveBayesAdaptive "
                "EFDTNominalBinaryBranch EFDTNominalMultiwayBranch EFDTNumericBinaryBranch "
                "EFDTNumericMultiwayBranch"
            ),
            "river.tree.nodes.hatc_nodes": (
                "AdaLeafClassifier AdaNomBinaryBranchClass AdaNomMultiwayBranchClass "
                "AdaNumBinaryBranchClass AdaNumMultiwayBranchClass"
            ),
            "river.tree.nodes.hatr_nodes": (
                "AdaLeafRegAdaptive AdaLeafRegMean AdaLeafRegModel AdaNomBinaryBranchReg "
                "AdaNomMultiwayBranchReg AdaNumBinaryBranchReg AdaNumMultiwayBranchReg"
            ),
            "river.tree.nodes.last_nodes": (
                "LeafMajorityClassWithDetector LeafNaiveBayesAdaptiveWithDetector "
                "LeafNaiveBayesWithDetector"
            ),
            "statistics": "NormalDist",
        },
        uses=("trees", "detectors"),
    ),
    "gradient-tree": Family(
        {"river.tree.stochastic_gradient_tree": "SGTClassifier SGTRegressor"},
        {
            "river.tree.losses": "BinaryCrossEntropyLoss SquaredErrorLoss",
            "river.tree.nodes.sgt_nodes": "SGTLeaf",
            "river.tree.splitter.sgt_quantizer": "DynamicQuantizer StaticQuantizer",
            "river.tree.utils": "GradHess GradHessStats",
        },
        uses=("trees",),
    ),
    "forest": Family(
        {
            "river.forest.adaptive_random_forest": "ARFClassifier ARFRegressor",
            "river.forest.online_extra_trees": "OXTRegressor",
        },
        {
            "river.forest.adaptive_random_forest": "BaseTreeClassifier BaseTreeRegressor",
            "river.forest.online_extra_trees": (
                "BaggingSampler ConstantSampler ETRegressor ExtraTrees._detection_mode_all "
                "ExtraTrees._detection_mode_drop ExtraTrees._detection_mode_off SubBaggingSampler"
            ),
            "river.linear_model.lin_reg": "LinearRegression",
            "river.tree.nodes.arf_htc_nodes": "RandomLeafMajorityClass RandomLeafNaiveBayes "
            "RandomLeafNaiveBayesAdaptive",
            "river.tree.nodes.arf_htr_nodes": "RandomLeafAdaptive RandomLeafMean RandomLeafModel",
            "river.tree.nodes.et_nodes": "ETLeafAdaptive ETLeafMean ETLeafModel",
            "river.tree.splitter.random_splitter": "RegRandomSplitter",
        },
        uses=("trees", "detectors", "measures", "optimizers"),
    ),
    "rules": Family(
        {"river.rules.amrules": "AMRules"},
        {
            "river.rules.amrules": "AdaptiveRegressor MeanRegressor RegRule",
            "river.tree.split_criterion.variance_ratio_split_criterion": (
                "VarianceRatioSplitCriterion"
            ),
        },
        uses=("trees", "detectors"),
    ),
    "bagging": Family(
        {"river.ensemble.bagging": "ADWINBaggingClassifier BaggingClassifier BaggingRegressor"},
        uses=("detectors",),
    ),
    "boosting": Family(
        {"river.ensemble.boosting": "ADWINBoostingClassifier AdaBoostClassifier BOLEClassifier"},
        uses=("detectors",),
    ),
    "patches": Family(
        {"river.ensemble.streaming_random_patches": "SRPClassifier SRPRegressor"},
        {"river.ensemble.streaming_random_patches": "BaseSRPClassifier BaseSRPRegressor"},
        uses=("detectors", "measures"),
    ),
    "combined": Family(
        {
            "river.ensemble.ewa": "EWARegressor",
            "river.ensemble.stacking": "StackingClassifier",
            "river.ensemble.voting": "VotingClassifier",
            "river.model_selection.greedy": "GreedyRegressor",
            "river.model_selection.sh": "SuccessiveHalvingClassifier SuccessiveHalvingRegressor",
        },
        uses=("measures", "optimizers"),
    ),
    "multi-class": Family(
        {
            "river.multiclass.occ": "OutputCodeClassifier",
            "river.multiclass.ovo": "OneVsOneClassifier",
            "river.multiclass.ovr": "OneVsRestClassifier",
        }
    ),
    "resampled": Family(
        {
            "river.drift.retrain": "DriftRetrainingClassifier",
            "river.imblearn.chebyshev": "ChebyshevOverSampler ChebyshevUnderSampler",
            "river.imblearn.hard_sampling": "HardSamplingClassifier HardSamplingRegressor",
            "river.imblearn.random": "RandomOverSampler RandomSampler RandomUnderSampler",
        },
        {"river.imblearn.hard_sampling": "Triplet"},
        uses=("detectors", "optimizers"),
    ),
    "scaled-target": Family(
        {
            "river.preprocessing.pred_clipper": "PredClipper",
            "river.preprocessing.scale_target": "TargetMinMaxScaler TargetStandardScaler",
        }
    ),
}

# Methods that instances hold of themselves: the only attributes that a pickle gets by `getattr`.
METHODS: dict[Name, frozenset[str]] = {
    ("river.drift.page_hinkley", "PageHinkley"): frozenset(
        {"_test_both", "_test_decrease", "_test_increase"}
    ),
    ("river.feature_extraction.kernel_approx", "RBFSampler"): frozenset({"_random_weights"}),
    ("river.linear_model.pa", "PAClassifier"): frozenset(
        {"_calc_tau_0", "_calc_tau_1", "_calc_tau_2"}
    ),
    ("river.linear_model.pa", "PARegressor"): frozenset(
        {"_calc_tau_0", "_calc_tau_1", "_calc_tau_2"}
    ),
    ("river.multiclass.occ", "OutputCodeClassifier"): frozenset({"_next_code"}),
    ("river.preprocessing.random_projection", "GaussianRandomProjector"): frozenset(
        {"_rand_gauss"}
    ),
    ("river.preprocessing.random_projection", "SparseRandomProjector"): frozenset(
        {"_rand_weights_for_feature"}
    ),
    ("river.preprocessing.scale_target", "TargetMinMaxScaler"): frozenset({"_scale", "_unscale"}),
    ("river.preprocessing.scale_target", "TargetStandardScaler"): frozenset({"_scale", "_unscale"}),
    ("river.tree.splitter.qo_splitter", "Slot"): frozenset({"_update_estimator_univariate"}),
}

_TOO_DEEP = (
    "its trees of split points become too deep to be stored "
    "on a feature that rises or falls for a long time",
    "Give the model splitter=river.tree.splitter.QOSplitter()",
)
_MONDRIAN = (
    "River 0.26.1 does not reproduce its published results",
    "Use ARFClassifier or ARFRegressor",
)
_BANDIT = (
    "its artifacts contain methods of any metric, which need builtins.getattr",
    "Use one of its models",
)
# Unsafe or unsound models.
REJECTED: dict[Name, Rejection] = {
    ("river.compose.renamer", "Renamer"): (
        "it changes the features of the event themselves, so the model would learn others than "
        "those it scored",
        "Rename them in the function `features`",
    ),
    ("river.ensemble.bagging", "LeveragingBaggingClassifier"): (
        "its artifacts need builtins.getattr, with which a pickle reaches any object",
        "Use ADWINBaggingClassifier, which detects drift in the same way",
    ),
    ("river.feature_extraction.kernel_approx", "RandomTreesEmbedding"): (
        "it finds its trees by their address in memory, and does not work after loading",
        "Use RBFSampler",
    ),
    ("river.forest.aggregated_mondrian_forest", "AMFClassifier"): _MONDRIAN,
    ("river.forest.aggregated_mondrian_forest", "AMFRegressor"): _MONDRIAN,
    ("river.model_selection.bandit", "BanditClassifier"): _BANDIT,
    ("river.model_selection.bandit", "BanditRegressor"): _BANDIT,
    ("river.tree.splitter.ebst_splitter", "EBSTSplitter"): _TOO_DEEP,
    ("river.tree.splitter.tebst_splitter", "TEBSTSplitter"): _TOO_DEEP,
}
# Models that create an unsound part while they learn, unless they are given another one.
REQUIRED_PARTS: dict[Name, RequiredPart] = {
    ("river.forest.adaptive_random_forest", "ARFRegressor"): RequiredPart(
        ("river.tree.splitter.qo_splitter", "QOSplitter"), _TOO_DEEP
    ),
}
