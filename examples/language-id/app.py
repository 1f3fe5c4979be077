"""Tells the language of a text, with the model that the package py3langid brings along."""

from pathlib import Path

from py3langid.langid import MODEL_FILE, LanguageIdentifier
from pydantic import BaseModel
from ray import serve
from starlette.requests import Request
from starlette.responses import JSONResponse


class Options(BaseModel):
    """The `args` of the application in the service YAML."""

    version: str
    model: str | None = None  # a file in the working directory; absent: the one in py3langid
    candidates: int = 1
    min_confidence: float = 0.0  # below it the answer is "und", undetermined


@serve.deployment
class LanguageId:
    def __init__(self, options: Options):
        if options.model is not None and not Path(options.model).is_file():
            raise FileNotFoundError(f"the model file {options.model} is not in the working directory")
        self.options = options
        model = MODEL_FILE if options.model is None else Path(options.model).absolute()
        self.model = LanguageIdentifier.from_model_file(model, norm_probs=True)

    async def __call__(self, request: Request) -> JSONResponse:
        text = await text_of(request)
        if not text:
            message = 'give a text: POST {"text": "..."}, or GET /?text=...'
            return JSONResponse({"version": self.options.version, "error": message}, status_code=400)
        return JSONResponse({"version": self.options.version, **self.answer(text)})

    def answer(self, text: str) -> dict:
        ranked = self.model.rank(text)[: self.options.candidates]
        language, confidence = ranked[0]
        if confidence < self.options.min_confidence:
            language = "und"
        if self.options.candidates == 1:
            return {"language": language}
        return {"language": language, "probabilities": {name: round(share, 4) for name, share in ranked}}


async def text_of(request: Request) -> str | None:
    if request.method != "POST":
        return request.query_params.get("text")
    try:
        text = (await request.json())["text"]
    except (ValueError, TypeError, KeyError):
        return None
    return text if isinstance(text, str) else None


def build(options: Options):
    """What `import_path` names: Ray Serve calls it with the `args`."""
    return LanguageId.bind(options)
