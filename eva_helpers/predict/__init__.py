"""Mask and depth from two photos: the pair check, the prediction and what it is good for.

Importing this is cheap: torch and the network come with the first `Predictor`.
"""

from eva_helpers.predict.predictor import Prediction, Predictor, load_pair, predict_images

__all__ = ["Prediction", "Predictor", "load_pair", "predict_images"]
