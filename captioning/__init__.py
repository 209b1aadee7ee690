"""Reading text in images; writing and checking captions in English and Chinese.

The package knows neither files nor Ray: it takes arrays and plain values, and gives plain
dataclasses.

Example:
    >>> from captioning.backends.composer import Composer
    >>> from captioning.caption import CaptionRequest
    >>> from captioning.chain import caption_image
    >>> from captioning.ocr.rapid import RapidEngine
    >>> lines = RapidEngine().read([image])[0]  # doctest: +SKIP
    >>> caption_image(Composer(), CaptionRequest(image, lines))  # doctest: +SKIP
"""
