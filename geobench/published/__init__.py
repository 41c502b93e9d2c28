"""Others' figures and predictions beside ours: published rows, foreign files, their rules of scoring."""
