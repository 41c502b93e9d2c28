"""A llama and a vision tower with random weights, a few kilobytes each, in llama.cpp's file format, and its server."""

import sys
import threading

import numpy as np

WIDTH, FORWARD, LAYERS, HEADS = 64, 128, 2, 4
TOWER, SIDE, PATCH = 64, 32, 16
SPECIAL = ["<|im_start|>", "<|im_end|>", "<|pad|>"]
TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{m['role']}}\n{{m['content']}}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def byte_tokens():
    """Return a printable character for each byte, as GPT-2's tokeniser has them."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    return [chr(code) for code in printable] + [chr(256 + number) for number in range(len(others))]


class Weights:
    """Adds random tensors to a file, the same for every run."""

    def __init__(self, writer):
        self.writer, self.rng = writer, np.random.default_rng(0)

    def random(self, name, *shape):
        """Add a random tensor."""
        self.writer.add_tensor(name, (self.rng.standard_normal(shape) * 0.3).astype(np.float32))

    def ones(self, name, size):
        """Add the weight of a normalisation."""
        self.writer.add_tensor(name, np.ones(size, np.float32))

    def close(self):
        """Write the file."""
        self.writer.write_header_to_file()
        self.writer.write_kv_data_to_file()
        self.writer.write_tensors_to_file()
        self.writer.close()


def write_language_model(path):
    """Write a llama of two blocks."""
    import gguf

    tokens = byte_tokens() + SPECIAL
    writer = gguf.GGUFWriter(str(path), "llama")
    writer.add_name("tiny")
    writer.add_context_length(4096)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(FORWARD)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(WIDTH // HEADS)
    writer.add_vocab_size(len(tokens))
    writer.add_file_type(0)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    kinds = [gguf.TokenType.NORMAL] * (len(tokens) - len(SPECIAL)) + [gguf.TokenType.CONTROL] * len(SPECIAL)
    writer.add_token_types(kinds)
    writer.add_token_merges(["i n"])
    for name, place in (("bos", -3), ("eos", -2), ("pad", -1)):
        getattr(writer, f"add_{name}_token_id")(len(tokens) + place)
    writer.add_add_bos_token(False)
    writer.add_chat_template(TEMPLATE)
    weights = Weights(writer)
    weights.random("token_embd.weight", len(tokens), WIDTH)
    weights.ones("output_norm.weight", WIDTH)
    weights.random("output.weight", len(tokens), WIDTH)
    for block in (f"blk.{number}." for number in range(LAYERS)):
        weights.ones(f"{block}attn_norm.weight", WIDTH)
        weights.ones(f"{block}ffn_norm.weight", WIDTH)
        for part in ("attn_q", "attn_k", "attn_v", "attn_output"):
            weights.random(f"{block}{part}.weight", WIDTH, WIDTH)
        for part in ("ffn_gate", "ffn_up"):
            weights.random(f"{block}{part}.weight", FORWARD, WIDTH)
        weights.random(f"{block}ffn_down.weight", WIDTH, FORWARD)
    weights.close()


def write_vision_tower(path):
    """Write a ViT of two blocks with a projector into the llama's space."""
    import gguf

    writer = gguf.GGUFWriter(str(path), "clip")
    for name in ("has_vision_encoder", "has_llava_projector", "use_gelu"):
        writer.add_bool(f"clip.{name}", True)
    for name, text in (
        ("general.type", "mmproj"),
        ("clip.projector_type", "mlp"),
        ("clip.vision.projector_type", "mlp"),
    ):
        writer.add_string(name, text)
    sizes = {"image_size": SIDE, "patch_size": PATCH, "embedding_length": TOWER, "feed_forward_length": FORWARD}
    sizes |= {"projection_dim": WIDTH, "attention.head_count": HEADS, "block_count": LAYERS}
    for name, size in sizes.items():
        writer.add_uint32(f"clip.vision.{name}", size)
    writer.add_float32("clip.vision.attention.layer_norm_epsilon", 1e-5)
    for name in ("mean", "std"):
        writer.add_array(f"clip.vision.image_{name}", [0.5, 0.5, 0.5])
    weights = Weights(writer)
    weights.random("v.class_embd", TOWER)
    weights.random("v.patch_embd.weight", TOWER, 3, PATCH, PATCH)
    weights.random("v.position_embd.weight", (SIDE // PATCH) ** 2 + 1, TOWER)
    for norm in ("v.pre_ln", "v.post_ln", *(f"v.blk.{number}.{n}" for number in range(LAYERS) for n in ("ln1", "ln2"))):
        weights.ones(f"{norm}.weight", TOWER)
        weights.random(f"{norm}.bias", TOWER)
    for block in (f"v.blk.{number}." for number in range(LAYERS)):
        for part in ("attn_q", "attn_k", "attn_v", "attn_out"):
            weights.random(f"{block}{part}.weight", TOWER, TOWER)
            weights.random(f"{block}{part}.bias", TOWER)
        for part, size, width in (("ffn_down", FORWARD, TOWER), ("ffn_up", TOWER, FORWARD)):
            weights.random(f"{block}{part}.weight", size, width)
            weights.random(f"{block}{part}.bias", size)
    for layer, width in (("mm.0", TOWER), ("mm.2", WIDTH)):
        weights.random(f"{layer}.weight", WIDTH, width)
        weights.random(f"{layer}.bias", WIDTH)
    weights.close()


def serve(folder):
    """Serve the model in ``folder`` until the process ends; print the address."""
    import xllamacpp

    parameters = xllamacpp.CommonParams()
    parameters.model.path = f"{folder}/tiny.gguf"
    parameters.mmproj.path = f"{folder}/tower.gguf"
    parameters.mmproj_use_gpu = False
    parameters.hostnames, parameters.port = ["127.0.0.1"], 0
    parameters.n_ctx, parameters.cpuparams.n_threads, parameters.warmup = 4096, 1, False
    parameters.model_alias = {"tiny"}
    server = xllamacpp.Server(parameters)
    print(server.listening_address, flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    serve(sys.argv[1])
