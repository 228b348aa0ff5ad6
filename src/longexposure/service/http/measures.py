"""What Prometheus is told: counts, seconds, the queue, failures by kind, the noise that was found."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from longexposure import __version__
from longexposure.enhance.files import FileResult

CONTENT_TYPE = CONTENT_TYPE_LATEST
SECONDS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)
GREY_VALUES = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000)


class Measures:
    """The measures of one server; counts begin anew with it.

    Args:
        model: the model's name.
    """

    def __init__(self, model: str) -> None:
        self._registry = registry = CollectorRegistry()

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"longexposure_{name}", text, labels, registry=registry)

        def gauge(name: str, text: str, *labels: str) -> Gauge:
            return Gauge(f"longexposure_{name}", text, labels, registry=registry)

        def histogram(name: str, text: str, buckets: tuple[float, ...]) -> Histogram:
            return Histogram(f"longexposure_{name}", text, buckets=buckets, registry=registry)

        gauge("info", "Version and model, 1.", "version", "model").labels(__version__, model).set(1)
        self.ready = gauge("ready", "1 when images are enhanced, else 0.")
        self.queue = gauge("queue_images", "Images that wait or run, of all who share the ledger.")
        self.uploads = gauge("uploads", "Images that are being uploaded.")
        self.images = counter("images", "Images by what became of them.", "outcome")
        self.failures = counter("failures", "Images that cannot be enhanced, by kind of error.", "kind")
        self.refused = counter("refused_requests", "Requests that were refused, by status.", "status")
        self.received = counter("received_bytes", "Bytes of uploads that were kept.")
        self.pixels = counter("pixels", "Pixels that were enhanced.")
        self.seconds = histogram("enhance_seconds", "Seconds of measuring and computing an image.", SECONDS)
        self.waited = histogram("wait_seconds", "Seconds from upload to enhanced image.", SECONDS)
        self.noise = histogram("noise_grey_values", "Standard deviation of the noise found.", GREY_VALUES)
        self.warned = counter("warned_images", "Enhanced images with warnings.")
        for outcome in ("enhanced", "found", "failed"):
            self.images.labels(outcome)

    def enhanced(self, result: FileResult, waited_s: float) -> None:
        """Count an enhanced image."""
        self.pixels.inc(result.megapixels * 1e6)
        self.seconds.observe(result.seconds)
        self.waited.observe(waited_s)
        self.noise.observe(result.noise_sigma)
        if result.warnings:
            self.warned.inc()

    def text(self) -> bytes:
        """All of it, as Prometheus reads it."""
        return generate_latest(self._registry)
