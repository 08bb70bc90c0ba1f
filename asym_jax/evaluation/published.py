"""The numbers that the authors published, as far as they survive: their README and the text of arXiv 2306.04632.

The paper's tables also have rows and columns that no source at hand quotes; they are not made up here.
"""

README = "README of the reference implementation"
TEXT = "text of arXiv 2306.04632"

INPAINTING_IMAGENET = (
    {"decoder": "SD + vanilla", "fid": 9.57, "lpips": 0.255, "pre_error": 1082.8e-5, "source": README},
    {"decoder": "base", "fid": 7.60, "lpips": 0.137, "pre_error": 5.7e-5, "source": README},
    {"decoder": "large 1.5x", "fid": 7.55, "lpips": 0.136, "pre_error": 2.6e-5, "source": README},
    {"decoder": "large 2x", "fid": 7.49, "lpips": 0.134, "pre_error": 2.1e-5, "source": README},
)

INPAINTING_PLACES = (
    {"decoder": "SD + vanilla", "fid": 2.27, "source": f"{TEXT} (1.24 more than ours)"},
    {"decoder": "ours", "fid": 1.03, "source": TEXT},
)

PAINT_BY_EXAMPLE = (
    {"decoder": "Paint-by-Example + vanilla", "pre_error": 588.86e-5, "source": TEXT},
    {"decoder": "base", "pre_error": 1.37e-5, "source": TEXT},
    {"decoder": "large", "pre_error": 0.76e-5, "source": TEXT},
    {"decoder": "ours (it is not said which)", "clip_score": 86.35, "source": TEXT},
)

TEXT_TO_IMAGE = (
    {"decoder": "SD + vanilla", "fid": 19.88, "inception_score": 37.55, "source": README},
    {"decoder": "base", "fid": 19.92, "inception_score": 37.52, "source": README},
    {"decoder": "large 1.5x", "fid": 19.75, "inception_score": 37.64, "source": README},
    {"decoder": "large 2x", "fid": 19.68, "inception_score": 37.73, "source": README},
)
