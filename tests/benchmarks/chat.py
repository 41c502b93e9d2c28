"""How near a chat model comes to the ideal rate: N photos, C requests at a time, a server that takes S seconds each.

    python tests/benchmarks/chat.py [PHOTOS] [CONCURRENCY] [LATENCY_S]

The ideal is C / S photos a second. The server runs in a process of its own; photos are 1,024 pixels wide, what is
sent by default, so that the work of decoding and encoding is real. Peak memory is compared with that of a tenth of it.
"""

import multiprocessing
import os
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))


def serve(connection, latency_s):
    """Serve until the process ends; send the address first."""
    from chat_server import serving

    with serving(latency_s=latency_s) as server:
        connection.send(server.address)
        time.sleep(3600)


def ask(address, n, concurrency, connection):
    """Ask for a photo, then for ``n``; send the seconds that both took and the growth of the peak memory in MiB."""
    import io

    import numpy as np
    from PIL import Image

    from geobench.devices import peak_memory_mb
    from geobench.services import Photo
    from geobench.services.asking import Questions
    from geobench.services.outcomes import predictions_of
    from geobench.settings import configure
    from geobench_plugins.chat.model import Chat

    noise = np.random.default_rng(0).integers(0, 255, (96, 128, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).resize((1024, 768)).save(buffer, "JPEG", quality=85)
    content = buffer.getvalue()

    def photo(name):
        return Photo(name, content, f"{int(name):032x}", lambda: Image.open(io.BytesIO(content)).convert("RGB"))

    settings = {"model": "tiny", "base_url": address, "concurrency": concurrency, "image_size": 1024}
    model = Chat(configure(Chat.Config, settings, "chat"))
    begun = time.monotonic()
    Questions(model, [str(n)], photo).ask()
    loading = time.monotonic() - begun
    questions = Questions(model, [str(number) for number in range(n)], photo)
    before, started = peak_memory_mb(), time.monotonic()
    entries = questions.ask()
    seconds = time.monotonic() - started
    grown = peak_memory_mb() - before
    assert not predictions_of(model, entries).failed.any()
    connection.send((seconds, loading, grown))


def main(photos=1000, concurrency=16, latency_s=0.2):
    """Print rate, share of the ideal and memory."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    server = context.Process(target=serve, args=(there, latency_s), daemon=True)
    server.start()
    address = here.recv()
    for n in (max(photos // 10, 1), photos):
        with tempfile.TemporaryDirectory() as home:
            os.environ["GEOBENCH_HOME"] = home
            process = context.Process(target=ask, args=(address, n, concurrency, there))
            process.start()
            seconds, loading, grown = here.recv()
            process.join()
        ideal = n * latency_s / concurrency
        rate = f"{n / seconds:.1f}/s, {ideal / seconds:.1%} of the ideal rate"
        first = f"{loading:.2f} s for one photo before, in which the client is loaded"
        print(f"{n:,} photos in {seconds:.2f} s: {rate}; {first}; peak memory + {grown:.0f} MiB")
    server.terminate()


if __name__ == "__main__":
    main(*(kind(text) for kind, text in zip((int, int, float), sys.argv[1:], strict=False)))
