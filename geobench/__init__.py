"""geobench: which model places photos best, on which test set, against which gallery, and is the difference real?

Importing this package loads no torch, pandas, open_clip, timm or matplotlib; what needs them imports them when it runs.
"""

from importlib.metadata import version

from geobench.checkpoints import Checkpoint, get_model
from geobench.data.dataset import Dataset
from geobench.errors import (
    CheckpointError,
    DatasetError,
    DatasetNotFoundError,
    DownloadError,
    EncoderError,
    ExperimentError,
    FeatureError,
    GalleryError,
    GeobenchError,
    ImageError,
    MergeError,
    PluginError,
    ResultError,
    ServiceError,
    SettingError,
    StorageError,
    TrainingError,
    UnknownNameError,
    unknown_name,
)
from geobench.evaluate import Options, evaluate
from geobench.features.cache import Features, extract
from geobench.features.encoders import Encoder, file_key
from geobench.gallery import Gallery, get_gallery
from geobench.hookspecs import hookimpl
from geobench.merge import merge
from geobench.metrics import Metric, ScoredImages
from geobench.models import Model, TestSet, TrainingSet
from geobench.plugins import (
    get_dataset,
    get_datasets,
    get_encoder,
    get_encoders,
    get_metric,
    get_metrics,
    get_models,
)
from geobench.predictions import Predictions
from geobench.provenance import DISTRIBUTION
from geobench.results import Result, get_results
from geobench.run import RunSummary, run
from geobench.train import train

__version__ = version(DISTRIBUTION)

__all__ = [
    "Checkpoint",
    "CheckpointError",
    "Dataset",
    "DatasetError",
    "DatasetNotFoundError",
    "DownloadError",
    "Encoder",
    "EncoderError",
    "ExperimentError",
    "FeatureError",
    "Features",
    "Gallery",
    "GalleryError",
    "GeobenchError",
    "ImageError",
    "MergeError",
    "Metric",
    "Model",
    "Options",
    "PluginError",
    "Predictions",
    "Result",
    "ResultError",
    "RunSummary",
    "ScoredImages",
    "ServiceError",
    "SettingError",
    "StorageError",
    "TestSet",
    "TrainingError",
    "TrainingSet",
    "UnknownNameError",
    "evaluate",
    "extract",
    "file_key",
    "get_dataset",
    "get_datasets",
    "get_encoder",
    "get_encoders",
    "get_gallery",
    "get_metric",
    "get_metrics",
    "get_model",
    "get_models",
    "get_results",
    "hookimpl",
    "merge",
    "run",
    "train",
    "unknown_name",
]
