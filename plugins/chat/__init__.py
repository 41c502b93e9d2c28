"""Models that answer in words, behind any endpoint of OpenAI's protocol: hosted, vLLM, llama.cpp, Ollama."""

from geobench import hookimpl
from geobench_plugins.chat.model import Chat


@hookimpl
def register_models(register):
    """Register ``chat``."""
    register(Chat)
