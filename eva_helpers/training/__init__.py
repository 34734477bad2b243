"""Training: the loop, its settings, and a state on disk from which it resumes to the bit."""

from eva_helpers.training.config import TrainingConfig
from eva_helpers.training.steps import NotFinite
from eva_helpers.training.trainer import Trainer

__all__ = ["NotFinite", "Trainer", "TrainingConfig"]
