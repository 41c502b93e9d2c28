"""Prompts as files: what is asked, whose protocol it is, and how its answers are read."""

from geobench.words.prompts.files import Prompt, Protocol, load_prompt, prompt_names

__all__ = ["Prompt", "Protocol", "load_prompt", "prompt_names"]
