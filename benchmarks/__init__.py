"""Speed of training, loading, inference and files, compared with the original project's way."""
