"""The names of the reference implementation, written down from its modules: independent of the table in the package.

Each pattern of diffusers' names goes with the reference's; `{up}` is the level counted from the other end.
"""

import re

import numpy as np

OFFICIAL_NAMES = {
    r"(encoder|decoder)\.(conv_in|conv_out)\.(.*)": "{0}.{1}.{2}",
    r"(encoder|decoder)\.conv_norm_out\.(.*)": "{0}.norm_out.{1}",
    r"(encoder|decoder)\.mid_block\.resnets\.0\.(.*)": "{0}.mid.block_1.{1}",
    r"(encoder|decoder)\.mid_block\.resnets\.1\.(.*)": "{0}.mid.block_2.{1}",
    r"(encoder|decoder)\.mid_block\.attentions\.0\.group_norm\.(.*)": "{0}.mid.attn_1.norm.{1}",
    r"(encoder|decoder)\.mid_block\.attentions\.0\.to_(q|k|v)\.(.*)": "{0}.mid.attn_1.{1}.{2}",
    r"(encoder|decoder)\.mid_block\.attentions\.0\.to_out\.0\.(.*)": "{0}.mid.attn_1.proj_out.{1}",
    r"encoder\.down_blocks\.(\d+)\.resnets\.(\d+)\.conv_shortcut\.(.*)": "encoder.down.{0}.block.{1}.nin_shortcut.{2}",
    r"encoder\.down_blocks\.(\d+)\.resnets\.(\d+)\.((?:norm|conv)[12]\..*)": "encoder.down.{0}.block.{1}.{2}",
    r"encoder\.down_blocks\.(\d+)\.attentions\.(\d+)\.group_norm\.(.*)": "encoder.down.{0}.attn.{1}.norm.{2}",
    r"encoder\.down_blocks\.(\d+)\.attentions\.(\d+)\.to_(q|k|v)\.(.*)": "encoder.down.{0}.attn.{1}.{2}.{3}",
    r"encoder\.down_blocks\.(\d+)\.attentions\.(\d+)\.to_out\.0\.(.*)": "encoder.down.{0}.attn.{1}.proj_out.{2}",
    r"encoder\.down_blocks\.(\d+)\.downsamplers\.0\.(conv\..*)": "encoder.down.{0}.downsample.{1}",
    r"decoder\.up_blocks\.(\d+)\.resnets\.(\d+)\.conv_shortcut\.(.*)": "decoder.up.{up}.block.{1}.nin_shortcut.{2}",
    r"decoder\.up_blocks\.(\d+)\.resnets\.(\d+)\.((?:norm|conv)[12]\..*)": "decoder.up.{up}.block.{1}.{2}",
    r"decoder\.up_blocks\.(\d+)\.attentions\.(\d+)\.group_norm\.(.*)": "decoder.up.{up}.attn.{1}.norm.{2}",
    r"decoder\.up_blocks\.(\d+)\.attentions\.(\d+)\.to_(q|k|v)\.(.*)": "decoder.up.{up}.attn.{1}.{2}.{3}",
    r"decoder\.up_blocks\.(\d+)\.attentions\.(\d+)\.to_out\.0\.(.*)": "decoder.up.{up}.attn.{1}.proj_out.{2}",
    r"decoder\.up_blocks\.(\d+)\.upsamplers\.0\.(conv\..*)": "decoder.up.{up}.upsample.{1}",
    r"decoder\.condition_encoder\.layers\.(\d+)\.(.*)": "decoder.encoder.layers.{0}.{1}",
    r"(quant_conv|post_quant_conv|quantize\.embedding)\.(.*)": "{0}.{1}",
}


def officially(tensors, levels):
    """Arrays under the names of the reference; attention there is made of 1x1 convolutions."""
    stored = {}
    for name, tensor in tensors.items():
        (found,) = [(form, match) for pattern, form in OFFICIAL_NAMES.items() if (match := re.fullmatch(pattern, name))]
        form, match = found
        up = levels - 1 - int(match[1]) if "{up}" in form else None
        if re.search(r"attentions\.\d+\.to_", name) and name.endswith("weight"):
            tensor = np.asarray(tensor).reshape(*tensor.shape, 1, 1)
        stored[form.format(*match.groups(), up=up)] = np.ascontiguousarray(tensor)
    return stored
